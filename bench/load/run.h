// One whole run: threads, measurement of the server beside it, result.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>
#include <vector>

#include "bench/load/load_options.h"
#include "bench/load/result.h"
#include "storage/base/result.h"

namespace weir::bench {

struct RunSettings {
  std::vector<pid_t> server_pids;  // empty: found by the URL's port when it is local
  std::string metrics_url;         // the target's /metrics; empty: not read
  enum class Live : uint8_t { kNone, kLines, kTerminal } live = Live::kNone;
};

struct RunOutcome {
  RunResult result;
  // Per load thread, one bit per event id; only when options.remember_acknowledged.
  std::vector<std::vector<bool>> acknowledged;
};

// Blocks until the run is over or *stop is set.
Result<RunOutcome> run_load(const LoadOptions& options, const RunSettings& settings,
                            const std::atomic<bool>* stop);

bool is_loopback(const std::string& host);

}  // namespace weir::bench
