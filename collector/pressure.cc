#include "collector/pressure.h"

#include <algorithm>

namespace weir {

using storage::Pressure;
using storage::PressureCause;
using storage::PressureLevel;

unsigned PressureGauge::memory_percent() const {
  return std::max(static_cast<unsigned>(bodies_.used() * 100 / bodies_.limit()),
                  store_.append_queue_percent());
}

Pressure PressureGauge::look(int64_t now_ns) {
  const Pressure store = store_.pressure();
  Pressure memory{storage::pressure_level(memory_percent(), store_.pressure_limits()),
                  PressureCause::kMemory};
  if (memory.level != PressureLevel::kNone)
    memory_until_ns_.store(now_ns + kHoldNs, std::memory_order_relaxed);
  else if (now_ns < memory_until_ns_.load(std::memory_order_relaxed))
    memory.level = PressureLevel::kNotReady;
  return memory.level > store.level ? memory : store;
}

std::string PressureGauge::detail(const Pressure& pressure) const {
  if (pressure.cause != PressureCause::kMemory) return store_.pressure_detail();
  return fmt::format(
      "{} % of the memory for requests between their first byte and their commit is used "
      "(limits.body_memory_bytes, store.append_queue_bytes)",
      memory_percent());
}

std::string_view shed_reason(uint8_t priority, PressureCause cause) {
  const bool low = priority == 0;
  switch (cause) {
    case PressureCause::kDisk:
      return low ? "shed_low_disk" : "shed_normal_disk";
    case PressureCause::kMemory:
      return low ? "shed_low_memory" : "shed_normal_memory";
    case PressureCause::kLag:
    case PressureCause::kNone:
      return low ? "shed_low_lag" : "shed_normal_lag";
  }
  return "shed";
}

std::string_view watermark_name(PressureCause cause) {
  switch (cause) {
    case PressureCause::kDisk:
      return "disk_watermark";
    case PressureCause::kMemory:
      return "memory_watermark";
    case PressureCause::kLag:
    case PressureCause::kNone:
      return "lag_watermark";
  }
  return "watermark";
}

}  // namespace weir
