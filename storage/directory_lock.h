// One process per data directory: an flock on <directory>/lock, which names its holder.
// Path: cold.  Thread: any.
#pragma once

#include <memory>
#include <string>

#include "storage/base/result.h"

namespace weir::storage {

class DirectoryLock {
 public:
  // For the server: makes the directory and the file if needed. kBusy, with the holder's pid, when
  // another process has it.
  static Result<std::unique_ptr<DirectoryLock>> take(const std::string& directory);
  // For tools that only read: kBusy when a server has it (then it is alive and writing). While
  // held, no server starts.
  static Result<std::unique_ptr<DirectoryLock>> take_shared(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace weir::storage
