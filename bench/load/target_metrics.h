// The target's own counters, read from its Prometheus endpoint before and after a run.
#pragma once

#include <map>
#include <string>

namespace weir::bench {

// Series name with labels -> value. Empty when url is empty or does not answer (said on stderr).
using TargetMetrics = std::map<std::string, double>;
TargetMetrics read_target_metrics(const std::string& url);

// Counters and histogram series (…_total, _count, _sum, _bucket): after - before. Others: after.
TargetMetrics difference(const TargetMetrics& before, const TargetMetrics& after);

}  // namespace weir::bench
