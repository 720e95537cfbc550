// GET /metrics: the registry in the Prometheus text format 0.0.4
// (prometheus.io/docs/instrumenting/exposition_formats). The one file that includes prometheus-cpp.
// Thread: the admin thread.
#pragma once

#include <string>

#include "storage/base/metrics.h"

namespace weir::admin {

std::string metrics_text(const MetricRegistry& registry);

}  // namespace weir::admin
