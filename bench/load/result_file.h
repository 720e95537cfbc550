// Reading result files back: for merge, compare and report.
#pragma once

#include <string>
#include <vector>

#include "bench/load/result.h"
#include "storage/base/result.h"

namespace weir::bench {

// A file written by `weir-bench --json`. Errors name the file.
Result<RunResult> read_result(const std::string& path);

// Results of several load hosts that ran at the same time against one target: requests and
// connections add up, seconds are those of the longest, latencies are merged bucket by bucket.
RunResult merge_results(const std::vector<RunResult>& results);

// One self-contained page (no script, no address to load anything from): figures side by side,
// latency by percentile, throughput, latency and CPU over time.
std::string report_html(const std::vector<RunResult>& results);

}  // namespace weir::bench
