// How fast a lane may send: two token buckets, events and batches. A batch may go when both are
// not in debt and is charged as a whole, so any batch size works and the rate holds over time.
// Path: warm (per send).  Thread: the forwarder's.
//
// Invariants
//   1. Over any period that begins at rest, what was sent is at most rate * (time + 0.1 s) and one
//      batch more.
//   2. Nothing here waits: ready_ns() says when to look again.
#pragma once

#include <algorithm>
#include <cstdint>

#include "forwarder/forwarder.h"

namespace weir::forwarder {

class RateLimit {
 public:
  explicit RateLimit(const RateOptions& options)
      : events_(options.events), batches_(options.batches) {}

  // The monotonic time from which on the next batch may go.
  int64_t ready_ns() const { return std::max(events_.ready_ns(), batches_.ready_ns()); }
  void charge(uint64_t events, int64_t now_ns) {
    events_.charge(events, now_ns);
    batches_.charge(1, now_ns);
  }

 private:
  // Kept as one instant: when what was charged so far is paid off (GCRA).
  class Bucket {
   public:
    explicit Bucket(uint64_t per_second) : per_second_(per_second) {}
    int64_t ready_ns() const { return per_second_ == 0 ? INT64_MIN : paid_ns_ - kBurstNs; }
    void charge(uint64_t units, int64_t now_ns) {
      if (per_second_ == 0) return;
      const auto cost = static_cast<unsigned __int128>(units) * 1'000'000'000 / per_second_;
      paid_ns_ = std::max(paid_ns_, now_ns) + static_cast<int64_t>(cost);
    }

   private:
    static constexpr int64_t kBurstNs = 100'000'000;  // a tenth of a second's worth at once
    const uint64_t per_second_;
    int64_t paid_ns_ = 0;
  };
  Bucket events_;
  Bucket batches_;
};

}  // namespace weir::forwarder
