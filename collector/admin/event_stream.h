// Server-sent events (html.spec.whatwg.org/multipage/server-sent-events.html): one topic with one
// publisher and a bounded number of subscribers, each with a bound of its own.
// Path: cold, and free while nobody listens: ask idle() before making a frame.
// Thread: the admin loop's, all of it.
//
// Invariants
//   1. Publishing never waits. A frame that would leave more than backlog_bytes unread at a
//      subscriber is skipped for that subscriber alone, counted, and announced to it by "event:
//      skipped" before the next frame it gets. Whoever has read everything gets any frame.
//   2. Every frame has an id, larger than the one before; a gap means that frames were filtered or
//      skipped. Nothing is kept for those who come back.
//   3. A subscriber that left is forgotten at the next frame or heartbeat.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "collector/http/exchange.h"
#include "collector/reactor/loop.h"
#include "storage/base/function_ref.h"
#include "storage/base/metrics.h"

namespace weir::admin {

class EventStream {
 public:
  struct Limits {
    unsigned subscribers = 32;
    size_t backlog_bytes = 64 << 10;
    int64_t heartbeat_ms = 15'000;  // a comment, so that proxies and clients see a live connection
    int64_t retry_ms = 2'000;       // when a client that lost its stream comes back
  };
  // What one subscriber asked for (a filter); the publisher's own.
  struct Interest {
    virtual ~Interest() = default;
  };
  struct Frame {
    std::string_view event;  // its type
    std::string_view data;   // each line becomes a data line
  };
  // Null interest where the subscriber named none.
  using Wants = FunctionRef<bool(const Interest*)>;

  // topic: the metrics' label. LIFETIME: loop and metrics outlive this.
  EventStream(std::string topic, const Limits& limits, reactor::Loop& loop,
              MetricRegistry& metrics);
  EventStream(const EventStream&) = delete;
  ~EventStream();  // REQUIRES: close(), or no subscriber

  // Begins the answer and sends `first` to this one only. False: too many listen, or close() was
  // called; the exchange is then still to be answered.
  bool subscribe(http::Exchange& exchange, std::unique_ptr<Interest> interest = nullptr,
                 const Frame* first = nullptr);
  void publish(const Frame& frame);
  void publish(const Frame& frame, Wants wants);
  // Ends every stream; the clients come back after retry_ms and are checked again.
  void restart();
  // The same for good: further subscribers are refused.
  void close();

  bool idle() const { return subscribers_.empty(); }
  size_t subscribers() const { return subscribers_.size(); }

 private:
  struct Subscriber {
    http::Exchange* exchange = nullptr;
    std::unique_ptr<Interest> interest;
    uint64_t skipped = 0;  // since the last frame it got
  };
  struct Heartbeat : reactor::Timer {
    explicit Heartbeat(EventStream& owner) : stream(owner) {}
    void on_timer() override { stream.beat(); }
    EventStream& stream;
  };

  // False: the client is gone.
  bool offer(Subscriber& subscriber, std::string_view frame);
  void beat();
  void remove_ended();  // those whose exchange was finished

  const Limits limits_;
  reactor::Loop& loop_;
  Counter& sent_;
  Counter& skipped_;
  Counter& refused_;
  Gauge& listening_;
  Heartbeat heartbeat_{*this};
  std::vector<Subscriber> subscribers_;
  uint64_t next_id_ = 1;
  bool closed_ = false;
};

}  // namespace weir::admin
