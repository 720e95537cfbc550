// weir serve: prepares the process, runs a Server until a signal ends it.
// Thread: the main thread, which only waits for signals.
#pragma once

#include "collector/options/options.h"

namespace weir {

// The exit code: 0 after SIGTERM or SIGINT, 1 when it could not start.
int serve(const options::Sources& sources, options::Options options);

}  // namespace weir
