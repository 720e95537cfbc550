// The target's own counters, read from its Prometheus endpoint before and after a run.
#pragma once

#include <map>
#include <string>

#include "bench/load/process_usage.h"

namespace weir::bench {

// Series name with labels -> value. Empty when url is empty or does not answer (said on stderr).
using TargetMetrics = std::map<std::string, double>;
TargetMetrics read_target_metrics(const std::string& url);

// Counters and histogram series (…_total, _count, _sum, _bucket): after - before. Others: after.
TargetMetrics difference(const TargetMetrics& before, const TargetMetrics& after);

// CPU time and memory as the target itself exports them (Weir's names, or those every Prometheus
// client library uses): for targets on another host. Not known when they are not there.
ProcessUsage usage_from(const TargetMetrics& metrics);

}  // namespace weir::bench
