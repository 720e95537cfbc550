// The next segment of a shard, made ahead of need, so that the writer never waits for a file to be
// created and synced, nor for the file system to find blocks for it.
// Path: cold.  Thread: wanted(), prepare() and fill() are the maintenance thread's, want(),
// set_due() and take() the writer's.
//
// Zeros are written no faster than the segment before is used up: a disk that writes a whole
// segment at once lets every commit wait meanwhile.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "storage/disk.h"
#include "storage/segment_writer.h"

namespace weir::storage {

class Successor {
 public:
  Successor(const std::string& directory, unsigned shard, uint64_t segment_bytes);
  ~Successor();  // one that nobody took is deleted

  // Wanted from want() until take(), whether it is ready by then or not. due: as for set_due().
  void want(uint64_t due) {
    due_.store(due, std::memory_order_relaxed);
    wanted_.store(true, std::memory_order_relaxed);
  }
  // Up to which byte it should be filled by now. True: fill() has something to do.
  bool set_due(uint64_t bytes) {
    if (fill_.load(std::memory_order_relaxed) != Fill::kOpen) return false;
    if (bytes < ZeroFill::kLeastBytes ||
        bytes - ZeroFill::kLeastBytes < due_.load(std::memory_order_relaxed))
      return false;
    due_.store(bytes, std::memory_order_relaxed);
    return true;
  }
  bool wanted() const { return wanted_.load(std::memory_order_relaxed); }
  // Makes it, if there is none yet.
  Status prepare();
  // Writes the next piece of zeros into the prepared one. True: more is due. What cannot be
  // filled (no space, a file system without direct writes) stays as it is: it grows when written.
  bool fill();
  // The prepared one is filled with zeros from end to end.
  bool filled() const { return fill_.load(std::memory_order_relaxed) == Fill::kDone; }
  // The prepared one; made here and now if there is none. Its file is at path().
  Result<std::unique_ptr<SegmentWriter>> take();
  const std::string& path() const { return path_; }

 private:
  enum class Fill : uint8_t { kOpen, kDone, kImpossible };

  Status make();
  bool give_up(const Error& why);

  const std::string directory_;
  const std::string path_;
  const uint64_t segment_bytes_;
  std::atomic<bool> wanted_{false};
  std::atomic<uint64_t> due_{UINT64_MAX};  // want() says it
  std::atomic<Fill> fill_{Fill::kOpen};
  std::mutex mutex_;  // held for one piece of zeros at most, so that take() hardly waits
  std::unique_ptr<SegmentWriter> ready_;
  std::unique_ptr<ZeroFill> zeros_;
};

}  // namespace weir::storage
