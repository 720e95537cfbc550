// CPU time and memory of a process and its threads, and what the kernel does beside it, from /proc
// (proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

namespace weir::bench {

struct ProcessUsage {
  bool known = false;
  double user_seconds = 0;    // since the processes started
  double system_seconds = 0;  // 0 when only the sum is known: then it is in user_seconds
  uint64_t rss_bytes = 0;
  uint64_t rss_anon_bytes = 0;

  double cpu_seconds() const { return user_seconds + system_seconds; }
};

// Of the whole machine, so read it with nothing else running: writeback and the file system's
// journal run in kernel threads, whose CPU time no process is charged for.
struct KernelUsage {
  double thread_seconds = 0;   // CPU time of kernel threads
  uint64_t written_bytes = 0;  // dirty pages written back
};
// What the kernel's counters said at one moment. Its workers come and go, so their times are kept
// apart.
struct KernelReading {
  std::map<pid_t, double> thread_seconds;
  uint64_t written_bytes = 0;
};

// The processes that listen on a local TCP port, as far as they may be seen. Several may share the
// port (nginx's master and workers): all of them are returned.
std::vector<pid_t> listeners_of_port(unsigned port);

// Sums over the processes; known is false when one of them is gone.
ProcessUsage read_usage(const std::vector<pid_t>& pids);

KernelReading read_kernel();
KernelUsage kernel_usage(const KernelReading& before, const KernelReading& after);

// CPU time of this process, all threads.
double own_cpu_seconds();

}  // namespace weir::bench
