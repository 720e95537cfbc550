// CPU time and memory of a process and its threads, from /proc (proc(5)).
#pragma once

#include <sys/types.h>

#include "bench/load/result.h"

namespace weir::bench {

// The pid listening on a local TCP port, 0 when there is none or it may not be seen. Several
// processes may share the port (nginx's master and workers): all of them are returned.
std::vector<pid_t> listeners_of_port(unsigned port);

// Sums over the processes; known is false when one of them is gone.
ProcessUsage read_usage(const std::vector<pid_t>& pids);

}  // namespace weir::bench
