// The next segment of a shard, made ahead of need, so that the writer never waits for a file to be
// created and synced.
// Path: cold.  Thread: wanted() and prepare() are the maintenance thread's, want() and take() the
// writer's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "storage/disk.h"
#include "storage/file_names.h"
#include "storage/segment_writer.h"

namespace weir::storage {

class Successor {
 public:
  Successor(const std::string& directory, unsigned shard, uint64_t segment_bytes)
      : directory_(directory),
        path_(directory + "/" + successor_name(shard)),
        segment_bytes_(segment_bytes) {}

  // Wanted from want() until take(), whether it is ready by then or not.
  void want() { wanted_.store(true, std::memory_order_relaxed); }
  bool wanted() const { return wanted_.load(std::memory_order_relaxed); }
  Status prepare() {
    const std::lock_guard lock(mutex_);
    return make();
  }
  // The prepared one; made here and now if there is none. Its file is at path().
  Result<std::unique_ptr<SegmentWriter>> take() {
    const std::lock_guard lock(mutex_);
    WEIR_RETURN_IF_ERROR(make());
    wanted_.store(false, std::memory_order_relaxed);
    return std::move(ready_);
  }
  const std::string& path() const { return path_; }

 private:
  Status make() {
    if (ready_ != nullptr) return {};
    WEIR_ASSIGN_OR_RETURN(ready_, SegmentWriter::create(path_, segment_bytes_));
    return sync_directory(directory_);
  }

  const std::string directory_;
  const std::string path_;
  const uint64_t segment_bytes_;
  std::atomic<bool> wanted_{false};
  std::mutex mutex_;
  std::unique_ptr<SegmentWriter> ready_;
};

}  // namespace weir::storage
