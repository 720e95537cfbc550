#include "collector/reactor/denial.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "collector/reactor/limits.h"
#include "collector/reactor/loop.h"
#include "collector/reactor/ring.h"

namespace weir::reactor {
namespace {

constexpr const char* kCallNames[] = {"io_uring_setup", "io_uring_register", "io_uring_enter"};

int64_t read_number(const char* path) {
  std::ifstream file(path);
  int64_t number = -1;
  if (!(file >> number)) return -1;
  return number;
}

// The value of "key:" in /proc/self/status, read with the given base.
uint64_t read_own_status(const char* key, int base) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) {
      const size_t at = line.find_first_not_of(" \t", std::strlen(key));
      uint64_t number = 0;
      if (at != std::string::npos)
        std::from_chars(line.data() + at, line.data() + line.size(), number, base);
      return number;
    }
  return 0;
}

std::string kernel_release() {
  utsname names{};
  uname(&names);
  return names.release;
}

DenialFacts facts_of_this_process(int os_errno, DeniedCall call) {
  DenialFacts facts;
  facts.os_errno = os_errno;
  facts.call = call;
  facts.sysctl_disabled = static_cast<int>(read_number("/proc/sys/kernel/io_uring_disabled"));
  facts.sysctl_group = read_number("/proc/sys/kernel/io_uring_group");
  facts.seccomp_active = read_own_status("Seccomp:", 10) != 0;
  constexpr unsigned kCapSysAdmin = 21;  // linux/capability.h
  facts.privileged = (read_own_status("CapEff:", 16) >> kCapSysAdmin & 1) != 0;
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  facts.memlock_bytes = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
  facts.kernel = kernel_release();
  return facts;
}

constexpr const char* kSeccompRemedy =
    "a container runtime's default profile does this: run with the shipped profile "
    "(docker run --security-opt seccomp=tools/packaging/seccomp-weir.json, or its three io_uring "
    "calls added to your own profile)";

std::string explain_permission(const DenialFacts& facts) {
  if (facts.sysctl_disabled == 2)
    return "the sysctl kernel.io_uring_disabled is 2, which denies it to every process; allow it "
           "with: sysctl -w kernel.io_uring_disabled=0 (and in /etc/sysctl.d to keep it)";
  if (facts.sysctl_disabled == 1 && !facts.privileged)
    return fmt::format(
        "the sysctl kernel.io_uring_disabled is 1, which allows it only to CAP_SYS_ADMIN and the "
        "group in kernel.io_uring_group (now {}); set that to Weir's group, or: sysctl -w "
        "kernel.io_uring_disabled=0",
        facts.sysctl_group);
  if (facts.seccomp_active) return fmt::format("a seccomp filter denies it; {}", kSeccompRemedy);
  return "neither the sysctl kernel.io_uring_disabled nor a seccomp filter denies it, so a "
         "security module (SELinux, AppArmor) does: look for a denial in its audit log";
}

std::string explain_missing(const DenialFacts& facts) {
  if (facts.seccomp_active)
    return fmt::format(
        "either a seccomp filter answers \"not implemented\" or kernel {} was built without "
        "CONFIG_IO_URING; in the first case {}",
        facts.kernel, kSeccompRemedy);
  return fmt::format(
      "kernel {} has no io_uring: it is older than 5.1, was built without CONFIG_IO_URING, or is a "
      "sandbox such as gVisor; Weir needs Linux 6.1 or newer",
      facts.kernel);
}

std::string explain_memory(const DenialFacts& facts) {
  if (facts.memlock_bytes == UINT64_MAX)
    return "the kernel has no memory for the ring although RLIMIT_MEMLOCK is unlimited: the "
           "machine or the container's memory limit is exhausted";
  return fmt::format(
      "ring memory counts against RLIMIT_MEMLOCK (now {} bytes, shared by all processes of the "
      "user) and even small rings do not fit; raise it with LimitMEMLOCK=64M in the systemd unit, "
      "docker run --ulimit memlock=67108864, or ulimit -l 65536",
      facts.memlock_bytes);
}

}  // namespace

Error explain_denial(const DenialFacts& facts) {
  Error error;
  error.os_errno = facts.os_errno;
  std::string why;
  switch (facts.os_errno) {
    case EPERM:
    case EACCES:
      error.code = ErrorCode::kPermission;
      why = explain_permission(facts);
      break;
    case ENOSYS:
      error.code = ErrorCode::kUnavailable;
      why = explain_missing(facts);
      break;
    case ENOMEM:
      error.code = ErrorCode::kLimit;
      why = explain_memory(facts);
      break;
    case EINVAL:
      error.code = ErrorCode::kUnavailable;
      why = fmt::format(
          "kernel {} does not know an io_uring feature Weir needs (single issuer, deferred task "
          "running, buffer rings); Weir needs Linux 6.1 or newer",
          facts.kernel);
      break;
    case EMFILE:
    case ENFILE:
      error.code = ErrorCode::kLimit;
      why = "no file descriptor is left; raise LimitNOFILE= in the systemd unit or ulimit -n";
      break;
    default:
      error.code = ErrorCode::kIo;
      why = fmt::format("unexpected on kernel {}", facts.kernel);
  }
  error.message =
      fmt::format("io_uring cannot be used: {} failed with \"{}\": {}",
                  kCallNames[static_cast<size_t>(facts.call)], std::strerror(facts.os_errno), why);
  return error;
}

Error explain_denial(int os_errno, DeniedCall call) {
  return explain_denial(facts_of_this_process(os_errno, call));
}

namespace {

Status register_and_run(io_uring& ring) {
  constexpr unsigned kBuffers = 1;
  const size_t bytes = 4096;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "cannot map a page for the io_uring probe");
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = kBuffers;
  int result = io_uring_register_buf_ring(&ring, &registration, 0);
  DeniedCall call = DeniedCall::kRegister;
  if (result == 0) {
    call = DeniedCall::kEnter;
    io_uring_prep_nop(io_uring_get_sqe(&ring));
    do {
      result = io_uring_submit_and_wait(&ring, 1);
    } while (result == -EINTR);
    result = result == 1 ? 0 : result < 0 ? result : -EIO;
    io_uring_unregister_buf_ring(&ring, 0);
  }
  munmap(memory, bytes);
  if (result < 0) return tl::unexpected(explain_denial(-result, call));
  return {};
}

Status probe_on_this_thread(uint32_t* features) {
  io_uring ring{};
  io_uring_params params{};
  params.flags = Ring::kSetupFlags;
  params.cq_entries = 8;
  const int result = io_uring_queue_init_params(2, &ring, &params);
  if (result < 0) return tl::unexpected(explain_denial(-result, DeniedCall::kSetup));
  if (features != nullptr) *features = params.features;
  Status status = register_and_run(ring);
  io_uring_queue_exit(&ring);
  return status;
}

}  // namespace

// On a thread of its own: a ring that goes away interrupts the system calls of the thread that used
// it (EINTR without a signal), a little later and once. The caller shall not see that.
Status probe_ring(uint32_t* features) {
  Status status;
  std::thread([&] { status = probe_on_this_thread(features); }).join();
  return status;
}

IoUringReport probe_io_uring() {
  IoUringReport report;
  report.kernel = kernel_release();
  uint32_t features = 0;
  if (Status status = probe_ring(&features); !status) {
    report.detail = std::move(status).error().message;
    return report;
  }
  report.usable = true;
  report.features = fmt::format(
      "single_issuer defer_taskrun multishot_accept multishot_recv buffer_rings features={:#x}",
      features);
  return report;
}

}  // namespace weir::reactor
