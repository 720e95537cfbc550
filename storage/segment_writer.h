// Appends to one segment: begin, append in ascending order, commit. One transaction at a time.
// Path: hot (per event).  Thread: the shard's writer; create() may run on another one before.
//
// Return codes are LMDB's (0: done), so that the caller can tell a full map (is_map_full) from the
// rest; any error means the transaction is gone. A full map can come from commit() too, after
// every append succeeded: nothing of the group is stored then.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/record_format.h"
#include "storage/segment_env.h"

struct MDB_txn;
struct MDB_cursor;

namespace weir::storage {

bool is_map_full(int code);

class SegmentWriter {
 public:
  // Makes an empty segment file and syncs it (not its directory). An old file there is replaced.
  static Result<std::unique_ptr<SegmentWriter>> create(const std::string& path, uint64_t map_bytes);
  ~SegmentWriter();
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  int begin();
  // Room for the value of a new last key. *to stays valid until the next call.
  int reserve(uint64_t key, size_t size, char** to);
  int append(uint64_t key, std::string_view value);
  int commit();
  void abort();

  // What is surely left for a group; a record costs at most record_cost() of it.
  uint64_t room() const;
  static uint64_t record_cost(size_t size);
  bool fits(uint64_t cost) const { return cost <= room(); }

  // Its file was filled with zeros to its full size before the first commit.
  bool filled() const { return filled_; }
  void set_filled() { filled_ = true; }

  const std::shared_ptr<SegmentEnv>& env() const { return env_; }

 private:
  explicit SegmentWriter(std::shared_ptr<SegmentEnv> env);

  std::shared_ptr<SegmentEnv> env_;
  MDB_txn* txn_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  uint64_t map_bytes_ = 0;
  bool filled_ = false;
};

}  // namespace weir::storage
