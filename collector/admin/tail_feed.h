// GET /api/v1/tail: live events as server-sent events, for `weir tail`. The reactors' taps are on
// only while somebody listens (collector/tap.h).
// Thread: the admin loop's.  REQUIRES: close() before it is destroyed while somebody listens.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "collector/admin/event_stream.h"
#include "collector/tap.h"

namespace weir::admin {

class TailFeed {
 public:
  static constexpr int64_t kLookMs = 1'000;  // whether those who listen are still there

  // Tells every reactor what to offer from now on; null: nothing.
  using Watch = std::function<void(std::shared_ptr<const TapWatch>)>;

  TailFeed(const EventStream::Limits& limits, reactor::Loop& loop, MetricRegistry& metrics,
           Watch watch);

  // as_text: lines for a terminal instead of JSON. False: see EventStream::subscribe().
  bool subscribe(http::Exchange& exchange, TapFilter filter, bool as_text);
  void pump();  // what the reactors offered goes to those who want it; on the loop's wake-up
  void restart() { stream_.restart(); }
  void close();  // ends every stream for good; before the loop stops

 private:
  struct Wanted : EventStream::Interest {
    std::shared_ptr<const TapFilter> filter;
    bool as_text = false;
  };
  struct Look : reactor::Timer {
    explicit Look(TailFeed& owner) : feed(owner) {}
    void on_timer() override { feed.look(); }
    TailFeed& feed;
  };
  void look();
  void tell_reactors();

  reactor::Loop& loop_;
  Watch watch_;
  EventStream stream_;
  TapQueue queue_;
  std::vector<std::weak_ptr<const TapFilter>> filters_;  // of those who listen
  Look look_{*this};
};

// One event as JSON, and as a line for a terminal.
std::string tail_json(const TapEvent& event);
std::string tail_text(const TapEvent& event);

}  // namespace weir::admin
