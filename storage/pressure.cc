#include "storage/pressure.h"

#include <algorithm>

namespace weir::storage {

std::string_view pressure_cause_name(PressureCause cause) {
  switch (cause) {
    case PressureCause::kNone:
      return "none";
    case PressureCause::kDisk:
      return "disk";
    case PressureCause::kMemory:
      return "memory";
    case PressureCause::kLag:
      return "lag";
  }
  return "unknown";
}

PressureLevel pressure_level(unsigned percent, const PressureLimits& limits) {
  if (percent >= limits.shed_normal) return PressureLevel::kShedNormal;
  if (percent >= limits.shed_low) return PressureLevel::kShedLow;
  if (percent >= limits.ready) return PressureLevel::kNotReady;
  return PressureLevel::kNone;
}

PressureLevel PressureSteps::look(unsigned percent, int64_t now_ns) {
  const PressureLevel wanted = pressure_level(percent, limits_);
  rising_ = wanted > level_;
  if (rising_ && now_ns - stepped_ns_ >= kStepNs) {
    level_ = static_cast<PressureLevel>(static_cast<uint8_t>(level_) + 1);
    stepped_ns_ = now_ns;
    rising_ = wanted > level_;
  } else if (wanted < level_) {
    level_ = std::min(level_, pressure_level(percent + kHysteresis, limits_));
  }
  return level_;
}

}  // namespace weir::storage
