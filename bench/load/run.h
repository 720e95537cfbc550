// One whole run: threads, measurement of the server beside it, result.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <vector>

#include "bench/load/load_options.h"
#include "bench/load/result.h"
#include "storage/base/result.h"

namespace weir::bench {

struct RunSettings {
  std::vector<pid_t> server_pids;  // empty: found by the URL's port when it is local
  std::string metrics_url;         // the target's /metrics; empty: not read
  bool live = false;               // progress on stderr, once a second
};

// Blocks until the run is over or *stop is set.
Result<RunResult> run_load(const LoadOptions& options, const RunSettings& settings,
                           const std::atomic<bool>* stop);

}  // namespace weir::bench
