// Live events for people who watch (`weir tail`). Off, which is nearly always, it costs the ingest
// path one comparison per event; on, each reactor copies what passes a filter into a bounded
// mailbox and never waits.
// Path: hot when on.  Thread: as said at each member.
//
// Invariants
//   1. At most kMaxWaiting events wait, and each reactor offers at most kMaxPerSecond: what is more
//      is counted and not shown. A tap is a sample under load, never a brake.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/event_record.h"
#include "storage/base/ids.h"
#include "storage/base/mailbox.h"
#include "storage/base/metrics.h"
#include "storage/base/wakeup.h"

namespace weir {

struct TapEvent {
  int64_t at_ms = 0;
  std::string_view outcome;  // "stored", "duplicate", "rejected"; static
  std::string reason;        // of a rejection
  std::string source;
  std::string tenant;
  std::string key;  // the key's name
  std::string name;
  std::string id;
  Position position;  // number 0: not stored
  RawEncoding raw_encoding = RawEncoding::kJson;
  size_t raw_bytes = 0;
  std::string raw;  // empty when it is longer than kMaxRaw or not known
  TapEvent* next = nullptr;
};

// What one watcher wants; an empty text is any.
struct TapFilter {
  std::string tenant;
  std::string name;
  std::string source;
  std::string outcome;

  bool wants(std::string_view of_tenant, std::string_view of_name, std::string_view of_source,
             std::string_view of_outcome) const {
    const auto fits = [](const std::string& wanted, std::string_view is) {
      return wanted.empty() || wanted == is;
    };
    return fits(tenant, of_tenant) && fits(name, of_name) && fits(source, of_source) &&
           fits(outcome, of_outcome);
  }
  bool wants(const TapEvent& event) const {
    return wants(event.tenant, event.name, event.source, event.outcome);
  }
};

// Where reactors put what they see, and the watchers' side takes it.
class TapQueue {
 public:
#ifdef WEIR_TINY_LIMITS
  static constexpr size_t kMaxWaiting = 8;
#else
  static constexpr size_t kMaxWaiting = 2'000;
#endif
  static constexpr uint64_t kMaxPerSecond = 1'000;
  static constexpr size_t kMaxRaw = 4'096;

  explicit TapQueue(Wakeup& wakeup) : wakeup_(wakeup) {}
  ~TapQueue() {
    take([](const TapEvent&) {});
  }

  // Any thread. False: too many wait; the event is gone.
  bool push(std::unique_ptr<TapEvent> event) {
    if (waiting_.fetch_add(1, std::memory_order_relaxed) >= kMaxWaiting) {
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    if (events_.push(event.release())) wakeup_.notify();
    return true;
  }
  // The watchers' thread.
  template <class Visit>
  void take(Visit visit) {
    for (TapEvent* event = events_.take_all(); event != nullptr;) {
      const std::unique_ptr<TapEvent> owned(event);
      event = event->next;
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      visit(*owned);
    }
  }

 private:
  Wakeup& wakeup_;
  Mailbox<TapEvent> events_;
  std::atomic<size_t> waiting_{0};
};

// What a reactor is told while somebody watches. LIFETIME: the queue outlives the reactors.
struct TapWatch {
  std::vector<TapFilter> filters;
  TapQueue* queue = nullptr;
};

// One reactor's side. THREAD: the reactor's.
class Tap {
 public:
  explicit Tap(MetricRegistry& metrics) : dropped_(metrics.counter(Metric::kTailDropped)) {}

  void watch(std::shared_ptr<const TapWatch> watch) { watch_ = std::move(watch); }
  bool on() const { return watch_ != nullptr; }
  // REQUIRES: on(). fields: of the event, as far as it could be read; raw may be empty.
  void offer(int64_t now_ms, std::string_view outcome, std::string_view reason,
             const EventFields& fields, Position position);

 private:
  Counter& dropped_;
  std::shared_ptr<const TapWatch> watch_;
  int64_t second_ = 0;
  uint64_t this_second_ = 0;
};

}  // namespace weir
