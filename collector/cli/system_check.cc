#include "collector/cli/system_check.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>

#include "collector/version.h"
#include "storage/base/clock.h"

namespace weir::cli {
namespace {

using State = SystemRow::State;

constexpr int kMinKernelMajor = 6;
constexpr int kMinKernelMinor = 1;
constexpr int kSyncs = 16;
constexpr double kSlowSyncMs = 20;
constexpr uint64_t kMinOpenFiles = 4096;

SystemRow kernel_row() {
  SystemRow row{"kernel", State::kOk, kernel_release(), ""};
  int major = 0;
  int minor = 0;
  if (std::sscanf(row.value.c_str(), "%d.%d", &major, &minor) != 2 || major < kMinKernelMajor ||
      (major == kMinKernelMajor && minor < kMinKernelMinor)) {
    row.state = State::kFail;
    row.advice = "Weir needs Linux 6.1 or newer";
  }
  return row;
}

std::string limit_text(rlim_t limit, uint64_t unit, const char* name) {
  if (limit == RLIM_INFINITY) return "unlimited";
  return fmt::format("{}{}", limit / unit, name);
}

SystemRow memlock_row() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  SystemRow row{"memlock", State::kOk, limit_text(limit.rlim_cur, 1024, " KiB"), ""};
  // Since Linux 5.12 rings are charged to the memory cgroup; registered buffers still count here.
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (512u << 10)) {
    row.state = State::kWarn;
    row.advice = "raise it if io_uring fails: LimitMEMLOCK=64M in the unit, or ulimit -l 65536";
  }
  return row;
}

SystemRow open_files_row(const options::Options& options) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  SystemRow row{"open files", State::kOk, limit_text(limit.rlim_max, 1, " (hard limit)"), ""};
  const uint64_t wanted =
      std::max<uint64_t>(kMinOpenFiles, uint64_t{options.server.max_connections} *
                                            std::max(1u, options.server.shards));
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) {
    row.state = State::kWarn;
    row.advice = fmt::format(
        "up to {} connections are configured: raise LimitNOFILE in the unit (or ulimit -Hn), or "
        "lower server.max_connections",
        wanted);
  }
  return row;
}

SystemRow io_uring_row(const Hooks& hooks) {
  const IoUringCheck probe = hooks.probe_io_uring();
  if (probe.usable) return {"io_uring", State::kOk, "usable: " + probe.features, ""};
  return {"io_uring", State::kFail, "denied", probe.detail};
}

std::filesystem::path existing_parent(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(directory, error).lexically_normal();
  while (!std::filesystem::is_directory(path, error) && path.has_relative_path())
    path = path.parent_path();
  return path;
}

// One LMDB commit is about two such syncs.
SystemRow sync_row(const std::filesystem::path& directory) {
  SystemRow row{"sync", State::kFail, "", ""};
  std::string name = (directory / ".weir-check-XXXXXX").string();
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) {
    row.value = fmt::format("cannot write in {}: {}", directory.string(), std::strerror(errno));
    row.advice = "give Weir's user write access, or choose another store.directory";
    return row;
  }
  unlink(name.c_str());
  std::array<char, 4096> block{};
  std::array<double, kSyncs> ms{};
  bool ok = true;
  for (int i = 0; i < kSyncs && ok; ++i) {
    const int64_t begin = Clock::system().monotonic_ns();
    ok = pwrite(fd, block.data(), block.size(), i * 4096) == 4096 && fdatasync(fd) == 0;
    ms[static_cast<size_t>(i)] = static_cast<double>(Clock::system().monotonic_ns() - begin) / 1e6;
  }
  if (!ok) {
    row.value = fmt::format("sync fails in {}: {}", directory.string(), std::strerror(errno));
    row.advice = "the disk or its file system is failing or full";
  } else {
    std::sort(ms.begin(), ms.end());
    row.state = ms[kSyncs / 2] > kSlowSyncMs ? State::kWarn : State::kOk;
    row.value = fmt::format("{:.2f} ms median, {:.2f} ms worst of {} in {}", ms[kSyncs / 2],
                            ms.back(), kSyncs, directory.string());
    if (row.state == State::kWarn)
      row.advice = "every answer waits for about two syncs; a faster disk answers sooner";
  }
  close(fd);
  return row;
}

SystemRow space_row(const std::filesystem::path& directory, const options::Options& options) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0)
    return {"disk", State::kFail, std::strerror(errno), "check store.directory"};
  const uint64_t free = uint64_t{info.f_bavail} * info.f_frsize;
  SystemRow row{"disk", State::kOk, fmt::format("{:.1f} GB free", static_cast<double>(free) / 1e9),
                ""};
  if (free < options.store.reserve_bytes + 2 * options.store.segment_bytes) {
    row.state = State::kFail;
    row.advice = fmt::format(
        "new events are refused below {} (store.reserve_bytes) plus room for "
        "two segments",
        options::format_size(static_cast<int64_t>(options.store.reserve_bytes)));
  }
  return row;
}

}  // namespace

std::string_view state_name(SystemRow::State state) {
  switch (state) {
    case State::kOk:
      return "ok";
    case State::kWarn:
      return "warn";
    case State::kFail:
      return "fail";
  }
  return "fail";
}

std::vector<SystemRow> check_system(const options::Options& options, const Hooks& hooks) {
  const auto directory = existing_parent(options.store.directory);
  std::vector<SystemRow> rows = {kernel_row()};
  if (hooks.probe_io_uring) rows.push_back(io_uring_row(hooks));
  rows.push_back(memlock_row());
  rows.push_back(open_files_row(options));
  rows.push_back(space_row(directory, options));
  rows.push_back(sync_row(directory));
  return rows;
}

}  // namespace weir::cli
