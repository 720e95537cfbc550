#include "storage/disk.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/log.h"

namespace weir::storage {
namespace {

constexpr off_t kDroppedAtOnce = 1 << 20;    // of the page cache: some 0.1 ms
constexpr uint64_t kDirectAlignment = 4096;  // of offset, size and memory, for any disk

// An open descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Status sync_directory(const std::string& directory) {
  Descriptor fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "cannot open the directory {}", directory);
  if (fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync the directory {}", directory);
  return {};
}

Status sync_and_drop_cache(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0 && errno == ENOENT) return {};
  if (fd.get() < 0) return fail_errno(errno, "cannot open {}", path);
  if (fsync(fd.get()) != 0) return fail_errno(errno, "cannot sync {}", path);
  // Advice: where it is not followed (tmpfs) there is no disk behind the cache either.
  posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  return {};
}

void drop_cache(const std::string& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return;
  const auto size = static_cast<off_t>(file_bytes(path));
  for (off_t at = 0; at < size; at += kDroppedAtOnce) {
    posix_fadvise(fd.get(), at, kDroppedAtOnce, POSIX_FADV_DONTNEED);
    std::this_thread::yield();
  }
}

Status write_zeros(int fd, uint64_t from, uint64_t to) {
  static const std::vector<char> kZeros(1 << 20);
  while (from < to) {
    const size_t size = std::min<uint64_t>(kZeros.size(), to - from);
    const ssize_t written = pwrite(fd, kZeros.data(), size, static_cast<off_t>(from));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "cannot write {} bytes of zeros", to - from);
    from += static_cast<uint64_t>(written);
  }
  return {};
}

ZeroFill::~ZeroFill() { close(fd_); }

Result<std::unique_ptr<ZeroFill>> ZeroFill::start(const std::string& path, uint64_t end) {
  const int fd = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return fail_errno(errno, "cannot open {} for direct writes", path);
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    const int why = errno;
    close(fd);
    return fail_errno(why, "cannot ask for the size of {}", path);
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  const uint64_t from = (size + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
  std::unique_ptr<ZeroFill> fill(new ZeroFill(fd, from, std::max(from, end)));
  if (end <= from) return fill;
  if (fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(end - from)) != 0) {
    const int why = errno;
    if (ftruncate(fd, info.st_size) != 0) return fail_errno(errno, "cannot shorten {}", path);
    return fail_errno(why, "cannot reserve {} bytes for {}", end - from, path);
  }
  return fill;
}

Result<bool> ZeroFill::step(uint64_t wanted) {
  alignas(kDirectAlignment) static const char kZeros[kPieceBytes] = {};
  while (at_ < end_) {
    const uint64_t piece = std::clamp(wanted, kLeastBytes, kPieceBytes) / kLeastBytes * kLeastBytes;
    const size_t size = std::min<uint64_t>(piece, end_ - at_);
    const ssize_t written = pwrite(fd_, kZeros, size, static_cast<off_t>(at_));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail_errno(errno, "cannot write {} bytes of zeros", end_ - at_);
    at_ += static_cast<uint64_t>(written);
    if (at_ < end_) return false;
  }
  if (fdatasync(fd_) != 0) return fail_errno(errno, "cannot sync {} bytes of zeros", end_);
  return true;
}

void give_back_tail(const std::string& path, uint64_t used) {
  if (file_bytes(path) > used && truncate(path.c_str(), static_cast<off_t>(used)) != 0)
    log::warn("tail_not_given_back", {{"file", path}, {"errno", errno}});
}

Result<std::string> set_aside(const std::string& directory, const std::string& name,
                              int64_t now_ms) {
  const std::string damaged = directory + "/damaged";
  if (mkdir(damaged.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_errno(errno, "cannot create {}", damaged);
  std::string stamp = format_rfc3339_ms(now_ms);
  std::erase_if(stamp, [](char c) { return c == ':' || c == '-' || c == '.'; });
  std::string target = fmt::format("{}/{}-{}", damaged, name, stamp);
  for (int i = 2; file_exists(target); ++i)
    target = fmt::format("{}/{}-{}-{}", damaged, name, stamp, i);
  const std::string source = directory + "/" + name;
  if (rename(source.c_str(), target.c_str()) != 0)
    return fail_errno(errno, "cannot move the damaged file {} to {}", source, target);
  WEIR_RETURN_IF_ERROR(sync_directory(damaged));
  WEIR_RETURN_IF_ERROR(sync_directory(directory));
  return target;
}

Status rename_durably(const std::string& directory, const std::string& from,
                      const std::string& to) {
  const std::string source = directory + "/" + from;
  const std::string target = directory + "/" + to;
  if (rename(source.c_str(), target.c_str()) != 0)
    return fail_errno(errno, "cannot rename {} to {}", source, target);
  return sync_directory(directory);
}

bool directory_in_use(const std::string& directory) {
  Descriptor fd(open((directory + "/lock").c_str(), O_RDONLY | O_CLOEXEC));
  // The descriptor's end gives the lock back.
  return fd.get() >= 0 && flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool file_exists(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0;
}

uint64_t file_bytes(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.st_size);
}

Result<uint64_t> disk_free_bytes(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0)
    return fail_errno(errno, "cannot ask for the free space at {}", path);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace weir::storage
