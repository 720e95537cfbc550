// GET /api/v1/live: the live counters as server-sent events, once a second while somebody listens.
// Thread: the admin loop's.  REQUIRES: close() before it is destroyed while somebody listens.
#pragma once

#include <functional>
#include <string>

#include "collector/admin/event_stream.h"

namespace weir::admin {

class LiveFeed {
 public:
  static constexpr int64_t kPeriodMs = 1'000;

  // counters: JSON of the live counters.
  LiveFeed(const EventStream::Limits& limits, reactor::Loop& loop, MetricRegistry& metrics,
           std::function<std::string()> counters);

  // False: see EventStream::subscribe(). The present counters are sent at once.
  bool subscribe(http::Exchange& exchange);
  void restart() { stream_.restart(); }
  void close();  // ends every stream for good; before the loop stops

 private:
  struct Tick : reactor::Timer {
    explicit Tick(LiveFeed& owner) : feed(owner) {}
    void on_timer() override { feed.publish(); }
    LiveFeed& feed;
  };
  void publish();

  reactor::Loop& loop_;
  std::function<std::string()> counters_;
  EventStream stream_;
  Tick tick_{*this};
};

}  // namespace weir::admin
