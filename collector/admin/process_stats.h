// What the kernel says about this process, as metrics.
// Thread: the admin thread.
#pragma once

#include <cstdint>

#include "storage/base/metrics.h"

namespace weir::admin {

struct ProcessStats {
  uint64_t cpu_ns = 0;
  uint64_t resident_bytes = 0;
  uint64_t anonymous_bytes = 0;  // RssAnon: what the process itself holds, without mapped files
  uint64_t open_files = 0;
  uint64_t max_open_files = 0;
  uint64_t threads = 0;
};
ProcessStats read_process_stats();  // fields that cannot be read stay 0

// Brings the weir_process_* cells up to date at each scrape.
class ProcessMetrics {
 public:
  explicit ProcessMetrics(MetricRegistry& metrics);
  void update();

 private:
  Counter& cpu_;
  Counter& log_dropped_;
  Gauge& resident_;
  Gauge& anonymous_;
  Gauge& open_files_;
  Gauge& max_open_files_;
  Gauge& threads_;
};

}  // namespace weir::admin
