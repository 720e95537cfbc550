#include "forwarder/destinations/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "forwarder/compression.h"
#include "forwarder/encoder.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

Outcome delivered() {
  Outcome outcome;
  outcome.kind = OutcomeKind::kDelivered;
  outcome.reason = "delivered";
  return outcome;
}

Outcome failed(int os_errno, std::string_view what, const std::string& path) {
  Outcome outcome;
  outcome.reason = os_errno == ENOSPC || os_errno == EDQUOT ? "no_space" : "io_error";
  outcome.detail = fmt::format("cannot {} {}: {}", what, path, std::strerror(os_errno));
  if (os_errno == ENOENT) outcome.detail += "; create the directory";
  if (os_errno == EACCES) outcome.detail += "; let weir's user write there";
  return outcome;
}

// All of it, or the errno of what stopped it.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

int sync_directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error;
}

class FileSink : public BlockingSink {
 public:
  FileSink(const DestinationOptions& options, const Clock& clock)
      : name_(options.name), path_(options.path), rotate_(options.rotate), clock_(clock) {}
  ~FileSink() override { close_file(); }

  Outcome deliver(std::string_view, std::string_view body, uint64_t, const Cancel&) override {
    if (fd_ >= 0 && !still_there()) close_file();
    if (fd_ < 0)
      if (const int error = open_file()) return failed(error, "open", path_);
    if (due_to_rotate()) {
      if (const int error = set_aside()) return failed(error, "set aside", path_);
      if (const int error = open_file()) return failed(error, "open", path_);
    }
    if (const int error = write_all(fd_, body)) {
      // A batch is in the file as a whole or not at all.
      if (ftruncate(fd_, static_cast<off_t>(size_)) != 0) set_aside();
      return failed(error, "write to", path_);
    }
    if (fdatasync(fd_) != 0) {
      const int error = errno;
      // What the page cache holds now may never reach the disk, and a later sync would not say so.
      set_aside();
      return failed(error, "sync", path_);
    }
    size_ += body.size();
    return delivered();
  }

 private:
  void close_file() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  // Somebody else may have renamed or removed it.
  bool still_there() const {
    struct stat by_name {};
    struct stat ours {};
    return stat(path_.c_str(), &by_name) == 0 && fstat(fd_, &ours) == 0 &&
           by_name.st_ino == ours.st_ino && by_name.st_dev == ours.st_dev;
  }

  int open_file() {
    fd_ = open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd_ < 0) return errno;
    if (const int error = cut_torn_line()) {
      close_file();
      return error;
    }
    since_ms_ = clock_.wall_ms();
    struct statx born {};
    if (statx(fd_, "", AT_EMPTY_PATH, STATX_BTIME, &born) == 0 &&
        (born.stx_mask & STATX_BTIME) != 0)
      since_ms_ = std::min<int64_t>(since_ms_, born.stx_btime.tv_sec * 1000);
    if (const int error = sync_directory_of(path_)) {
      close_file();
      return error;
    }
    return 0;
  }

  // The last line has no end: it belongs to a batch that was never reported as delivered.
  int cut_torn_line() {
    struct stat now {};
    if (fstat(fd_, &now) != 0) return errno;
    const auto size = static_cast<uint64_t>(now.st_size);
    size_ = size;
    if (!S_ISREG(now.st_mode)) return EINVAL;
    char block[4096];
    for (uint64_t end = size; end > 0;) {
      const uint64_t begin = end - std::min<uint64_t>(end, sizeof block);
      const ssize_t got = pread(fd_, block, end - begin, static_cast<off_t>(begin));
      if (got != static_cast<ssize_t>(end - begin)) return got < 0 ? errno : EIO;
      const std::string_view text(block, end - begin);
      const size_t newline = text.rfind('\n');
      size_ = newline == std::string_view::npos ? begin : begin + newline + 1;
      if (newline != std::string_view::npos) break;
      end = begin;
    }
    if (size_ == size) return 0;
    log::warn("file_tail_cut", {{"destination", name_}, {"path", path_}, {"bytes", size - size_}});
    return ftruncate(fd_, static_cast<off_t>(size_)) == 0 ? 0 : errno;
  }

  bool due_to_rotate() const {
    if (size_ == 0) return false;
    return (rotate_.bytes != 0 && size_ >= rotate_.bytes) ||
           (rotate_.age_ms != 0 && clock_.wall_ms() - since_ms_ >= rotate_.age_ms);
  }

  // events.ndjson -> events-20231114T221320.123Z.ndjson, with a number when that exists.
  int set_aside() {
    close_file();
    std::string time = format_rfc3339_ms(clock_.wall_ms());
    std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
    const size_t slash = path_.rfind('/');
    size_t dot = path_.rfind('.');
    if (dot == std::string::npos || (slash != std::string::npos && dot < slash)) dot = path_.size();
    for (int attempt = 0; attempt < 1000; ++attempt) {
      const std::string number = attempt == 0 ? "" : fmt::format("-{}", attempt);
      const std::string to =
          fmt::format("{}-{}{}{}", path_.substr(0, dot), time, number, path_.substr(dot));
      if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0)
        return sync_directory_of(path_);
      if (errno != EEXIST) return errno;
    }
    return EEXIST;
  }

  const std::string name_;
  const std::string path_;
  const RotateOptions rotate_;
  const Clock& clock_;
  int fd_ = -1;
  uint64_t size_ = 0;     // of the whole batches in it
  int64_t since_ms_ = 0;  // when it was begun
};

// A pipe, a terminal, a file somebody redirected us to.
class StreamSink : public BlockingSink {
 public:
  StreamSink(int fd, const DestinationOptions& options, const Clock& clock)
      : fd_(fd), timeout_ms_(options.request_timeout_ms), clock_(clock) {}

  Outcome deliver(std::string_view, std::string_view body, uint64_t,
                  const Cancel& cancel) override {
    const int64_t deadline_ns = clock_.monotonic_ns() + timeout_ms_ * 1'000'000;
    // A line that broke off is ended, so that only itself is spoilt.
    const std::string_view pieces[] = {torn_ ? std::string_view("\n") : std::string_view(), body};
    for (std::string_view rest : pieces)
      while (!rest.empty()) {
        const Waited waited = wait_for(fd_, POLLOUT, deadline_ns, cancel, clock_);
        if (waited != Waited::kReady) return failed(ETIMEDOUT, "write to", "stdout");
        // A pipe that is ready takes PIPE_BUF bytes without blocking.
        const ssize_t written = write(fd_, rest.data(), std::min<size_t>(rest.size(), kChunk));
        if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (written < 0) return failed(errno, "write to", "stdout");
        torn_ = rest[static_cast<size_t>(written) - 1] != '\n';
        rest.remove_prefix(static_cast<size_t>(written));
      }
    // Pipes and terminals cannot be synced (EINVAL, EROFS); what was written is with the reader.
    if (fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
      return failed(errno, "sync", "stdout");
    return delivered();
  }

 private:
  static constexpr size_t kChunk = 4096;
  const int fd_;
  const int64_t timeout_ms_;
  const Clock& clock_;
  bool torn_ = false;
};

std::unique_ptr<Destination> make_lines_destination(const DestinationOptions& options,
                                                    const Identity& identity, const Clock& clock,
                                                    std::unique_ptr<BlockingSink> sink) {
  std::vector<std::unique_ptr<BlockingSink>> sinks;
  sinks.push_back(std::move(sink));
  std::shared_ptr<Compressor> plain(*Compressor::make(Compression::kNone));
  const auto make_encoder = [identity, plain] {
    return std::make_unique<JsonEncoder>(BodyFormat::kNdjson, identity.node, identity.store_id,
                                         *plain, /*alone=*/true);
  };
  return std::make_unique<ThreadedDestination>("weir-" + options.type, std::move(sinks),
                                               make_encoder, clock);
}

}  // namespace

std::unique_ptr<BlockingSink> make_file_sink(const DestinationOptions& options,
                                             const Clock& clock) {
  return std::make_unique<FileSink>(options, clock);
}

std::unique_ptr<BlockingSink> make_stream_sink(int fd, const DestinationOptions& options,
                                               const Clock& clock) {
  return std::make_unique<StreamSink>(fd, options, clock);
}

Result<std::unique_ptr<Destination>> make_file_destination(const DestinationOptions& options,
                                                           const Identity& identity,
                                                           const Clock& clock) {
  if (options.path.empty())
    return fail(ErrorCode::kInvalidArgument, "destination {}: path is missing", options.name);
  return make_lines_destination(options, identity, clock, make_file_sink(options, clock));
}

Result<std::unique_ptr<Destination>> make_stdout_destination(const DestinationOptions& options,
                                                             const Identity& identity,
                                                             const Clock& clock) {
  return make_lines_destination(options, identity, clock,
                                make_stream_sink(STDOUT_FILENO, options, clock));
}

}  // namespace weir::forwarder
