// Small steps with files that more than one part of the store takes: making a name durable, setting
// a damaged file aside, filling with zeros, distrusting the page cache.
// Path: cold.  Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/base/result.h"

namespace weir::storage {

// fsync of the directory: a file made, renamed or unlinked in it stays so after a power cut.
Status sync_directory(const std::string& directory);

// fsync of the file, then drops its cached pages (POSIX_FADV_DONTNEED): what is read next comes
// from the disk. For files whose last writer may have died between write and sync. A file that does
// not exist is no error.
Status sync_and_drop_cache(const std::string& path);

// Gives the clean cached pages of a finished file back, so that a steady stream of new ones reuses
// the same memory instead of filling all of it. Advice only; never an error.
void drop_cache(const std::string& path);

// Writes zeros from byte `from` to byte `to`, extending the file. Does not sync.
Status write_zeros(int fd, uint64_t from, uint64_t to);

// Fills the part of a file that will be written later with zeros, a piece at a time, past the page
// cache (O_DIRECT). Blocks that were written once are only overwritten afterwards: their file's
// size and extents do not change, so a synced write needs no journal commit of the file system.
class ZeroFill {
 public:
  ~ZeroFill();
  ZeroFill(const ZeroFill&) = delete;
  ZeroFill& operator=(const ZeroFill&) = delete;
  // Reserves the blocks up to byte `end` behind the file's present size. Errors: no space (the file
  // is as before), a file system without direct writes.
  static Result<std::unique_ptr<ZeroFill>> start(const std::string& path, uint64_t end);
  // Writes the next piece, of `wanted` bytes if that is between the two, the last one synced. True:
  // all is written.
  Result<bool> step(uint64_t wanted = kPieceBytes);
  uint64_t at() const { return at_; }  // zeros are written up to here
  static constexpr uint64_t kLeastBytes = uint64_t{256} << 10;
  static constexpr uint64_t kPieceBytes = uint64_t{1} << 20;

 private:
  ZeroFill(int fd, uint64_t at, uint64_t end) : fd_(fd), at_(at), end_(end) {}
  const int fd_;
  uint64_t at_;
  const uint64_t end_;
};

// Cuts off what lies behind the used bytes of a finished file. Advice only; never an error.
void give_back_tail(const std::string& path, uint64_t used);

// Moves directory/name to directory/damaged/<name>-<utc time>[-n] and syncs both directories.
// Returns the new path.
Result<std::string> set_aside(const std::string& directory, const std::string& name,
                              int64_t now_ms);

// rename(2) within one directory, then its fsync.
Status rename_durably(const std::string& directory, const std::string& from, const std::string& to);

// Whether a process holds the lock file of the data directory (flock on directory/lock).
bool directory_in_use(const std::string& directory);

bool file_exists(const std::string& path);
uint64_t file_bytes(const std::string& path);  // size, 0 when it does not exist

// Bytes an unprivileged process may still write to the file system of path.
Result<uint64_t> disk_free_bytes(const std::string& path);

}  // namespace weir::storage
