// How many events a write key may send: a token bucket as one number, the time at which everything
// taken so far would have come at exactly the allowed rate (GCRA, ITU-T I.371). Shared by all
// reactors without a lock: looking is one relaxed load, taking one compare-and-swap.
// Path: hot, for keys with a rate.  Thread: any.
//
// Invariants
//   1. Over any time t at most rate * t + burst events are taken, plus what the last request
//      allowed brought more than was left: a request is allowed or refused as a whole, so a batch
//      larger than the burst is not refused for ever; it makes the next ones wait.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace weir::event {

class RateBucket {
 public:
  RateBucket(uint64_t per_second, uint64_t burst)
      : per_second_(per_second), burst_(burst), cost_ns_(1e9 / static_cast<double>(per_second)) {}

  // How long until one event may come; 0: now.
  int64_t wait_ns(int64_t now_ns) const {
    const int64_t taken_to = taken_to_ns_.load(std::memory_order_relaxed);
    return std::max<int64_t>(taken_to + ns_of(1) - ns_of(burst_) - now_ns, 0);
  }
  void take(uint64_t events, int64_t now_ns) {
    int64_t taken_to = taken_to_ns_.load(std::memory_order_relaxed);
    while (!taken_to_ns_.compare_exchange_weak(taken_to, std::max(taken_to, now_ns) + ns_of(events),
                                               std::memory_order_relaxed)) {
    }
  }

  uint64_t per_second() const { return per_second_; }
  uint64_t burst() const { return burst_; }

 private:
  int64_t ns_of(uint64_t events) const {
    return static_cast<int64_t>(static_cast<double>(events) * cost_ns_);
  }

  const uint64_t per_second_;
  const uint64_t burst_;
  const double cost_ns_;
  std::atomic<int64_t> taken_to_ns_{INT64_MIN / 2};
};

}  // namespace weir::event
