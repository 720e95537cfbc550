// The pressure the ingest side acts on: the store's (disk, lag) and that of memory (bodies and
// events between request and commit), whichever is graver. docs/operation.md has the steps.
// Path: hot, but once per turn.  Thread: any; four relaxed loads.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "collector/http/server.h"
#include "storage/store.h"

namespace weir {

class PressureGauge {
 public:
  // Memory comes and goes within milliseconds; readiness stays red for so long after it, so that a
  // load balancer sees it.
  static constexpr int64_t kHoldNs = 2'000'000'000;

  // The limits are the store's. LIFETIME: both outlive the gauge.
  PressureGauge(const storage::Store& store, const http::BodyBudget& bodies)
      : store_(store), bodies_(bodies) {}

  storage::Pressure look(int64_t now_ns);
  unsigned memory_percent() const;
  std::string detail(const storage::Pressure& pressure) const;  // in words

 private:
  const storage::Store& store_;
  const http::BodyBudget& bodies_;
  std::atomic<int64_t> memory_until_ns_{INT64_MIN};
};

// Events of lower priority than this are shed; 0: none.
inline uint8_t shed_below(const storage::Pressure& pressure) {
  return pressure.level == storage::PressureLevel::kShedNormal ? 2
         : pressure.level == storage::PressureLevel::kShedLow  ? 1
                                                               : 0;
}
// "shed_low_disk", "shed_normal_memory", …; static.
std::string_view shed_reason(uint8_t priority, storage::PressureCause cause);
// "disk_watermark", "memory_watermark", "lag_watermark"; static. What /readyz says.
std::string_view watermark_name(storage::PressureCause cause);

}  // namespace weir
