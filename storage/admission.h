// Why new events are refused right now, if they are: a set of conditions, each set and cleared by
// whoever watches it; the gravest one is what clients see.
// Path: cold to change; reading is one relaxed load (Store::admission).  Thread: any.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <string>

#include "storage/append.h"

namespace weir::storage {

class Admission {
 public:
  explicit Admission(std::atomic<Refusal>& shown) : shown_(shown) {}

  // Sets the condition; the first detail of kSyncFailed stays for ever. Logs the change.
  void set(Refusal refusal, const std::string& detail);
  // Ends it. kSyncFailed and kStopping have no end.
  void clear(Refusal refusal);

  Refusal current() const { return shown_.load(std::memory_order_relaxed); }
  bool has(Refusal refusal) const {
    return (active_.load(std::memory_order_relaxed) & bit(refusal)) != 0;
  }
  std::string detail() const;  // of the gravest one; empty when there is none

 private:
  static uint32_t bit(Refusal refusal) { return uint32_t{1} << static_cast<unsigned>(refusal); }
  void show();  // with mutex_ held

  std::atomic<Refusal>& shown_;
  std::atomic<uint32_t> active_{0};
  mutable std::mutex mutex_;
  std::array<std::string, kRefusals> details_;
};

}  // namespace weir::storage
