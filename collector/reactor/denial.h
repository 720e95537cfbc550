// Why io_uring cannot be used here, and how to allow it. Containers and hardened hosts deny it in
// four different ways that look alike; an operator needs to know which one it is.
// Path: start-up and `weir check --system`.  Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "storage/base/result.h"

namespace weir::reactor {

enum class DeniedCall : uint8_t { kSetup, kRegister, kEnter };

// What the explanation is derived from, so that tests can state each situation.
struct DenialFacts {
  int os_errno = 0;
  DeniedCall call = DeniedCall::kSetup;
  int sysctl_disabled = -1;     // kernel.io_uring_disabled; -1: the kernel has no such sysctl
  int64_t sysctl_group = -1;    // kernel.io_uring_group
  bool seccomp_active = false;  // /proc/self/status: Seccomp
  bool privileged = false;      // CAP_SYS_ADMIN
  uint64_t memlock_bytes = 0;   // RLIMIT_MEMLOCK; UINT64_MAX: unlimited
  std::string kernel;           // uname -r
};

Error explain_denial(const DenialFacts& facts);
// The same with the facts of this process, read now.
Error explain_denial(int os_errno, DeniedCall call);

// Sets up a small ring with the flags of the real ones, registers a buffer ring and runs a no-op:
// what is denied is denied here, before anything was promised. The kernel's feature bits go to
// *features when it is not null.
Status probe_ring(uint32_t* features = nullptr);

}  // namespace weir::reactor
