// How near the store is to refusing everything, and what is given up before: readiness first, then
// events of low priority, then normal ones; those of high priority only with the store's own limit.
// Path: reading is one relaxed load (Store::pressure).  Thread: any; plain values.
//
// Invariants
//   1. ready <= shed_low <= shed_normal <= 100 per cent: /readyz turns red before the first event
//      is shed, and low events go before normal ones.
//   2. A level rises by one step at a time, each at least kStepNs after the one before.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace weir::storage {

// In the order in which they are met.
enum class PressureLevel : uint8_t { kNone, kNotReady, kShedLow, kShedNormal };
enum class PressureCause : uint8_t { kNone, kDisk, kMemory, kLag };
std::string_view pressure_cause_name(PressureCause cause);  // "disk", "memory", "lag"

// Aligned as its size, so that clang too makes an atomic one of plain loads and stores.
struct alignas(2) Pressure {
  PressureLevel level = PressureLevel::kNone;
  PressureCause cause = PressureCause::kNone;
  friend bool operator==(const Pressure&, const Pressure&) = default;
};

// Per cent of what is there: of store.max_bytes (or of the disk down to the reserve), of memory, of
// a backlog limit.
struct PressureLimits {
  unsigned ready = 80;
  unsigned shed_low = 85;
  unsigned shed_normal = 92;
};
PressureLevel pressure_level(unsigned percent, const PressureLimits& limits);

// The same where threads read them while a reload replaces them: one word, one relaxed load.
class SharedPressureLimits {
 public:
  PressureLimits get() const {
    const uint32_t packed = packed_.load(std::memory_order_relaxed);
    return {packed & 0xff, packed >> 8 & 0xff, packed >> 16 & 0xff};
  }
  void set(const PressureLimits& limits) { packed_.store(pack(limits), std::memory_order_relaxed); }

 private:
  static constexpr uint32_t pack(const PressureLimits& limits) {
    return limits.ready | limits.shed_low << 8 | limits.shed_normal << 16;
  }
  std::atomic<uint32_t> packed_{pack({})};
};

// The level over time.
class PressureSteps {
 public:
  static constexpr int64_t kStepNs = 200'000'000;
  static constexpr unsigned kHysteresis = 2;  // per cent below a mark, before it counts as left

  explicit PressureSteps(const PressureLimits& limits) : limits_(limits) {}
  // The level now that so much is used.
  PressureLevel look(unsigned percent, int64_t now_ns);
  // A higher level waits for its step: look again soon.
  bool rising() const { return rising_; }
  void set_limits(const PressureLimits& limits) { limits_ = limits; }

 private:
  PressureLimits limits_;
  PressureLevel level_ = PressureLevel::kNone;
  int64_t stepped_ns_ = INT64_MIN / 2;
  bool rising_ = false;
};

}  // namespace weir::storage
