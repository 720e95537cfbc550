#include "storage/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "storage/file_names.h"

namespace weir::storage {
namespace {

std::string holder(int fd) {
  char text[32] = {};
  const ssize_t size = pread(fd, text, sizeof text - 1, 0);
  std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "unknown" : pid;
}

}  // namespace

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::take(const std::string& directory) {
  WEIR_RETURN_IF_ERROR(make_directory(directory));
  const std::string path = directory + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return fail_errno(errno, "cannot open {}", path);
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, "cannot lock {}", path);
    return fail(ErrorCode::kBusy,
                "{} is in use by the process with pid {}; one process per data directory: stop "
                "that one or choose another directory",
                directory, holder(fd));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    // The lock holds all the same; only its holder has no name (a full disk).
    (void)ftruncate(fd, 0);
  }
  return lock;
}

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::take_shared(const std::string& directory) {
  const std::string path = directory + "/lock";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return fail(ErrorCode::kNotFound,
                "{} is not a data directory of Weir's: it has no file named "
                "lock",
                directory);
  if (fd < 0) return fail_errno(errno, "cannot open {}", path);
  std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
  if (flock(fd, LOCK_SH | LOCK_NB) != 0)
    return fail(ErrorCode::kBusy, "{} is in use by the process with pid {}", directory, holder(fd));
  return lock;
}

DirectoryLock::~DirectoryLock() { close(fd_); }

}  // namespace weir::storage
