// One segment file, opened with LMDB. What writer and readers of the same process share: LMDB
// allows a file to be opened with its lock only once per process.
// Path: cold (opening).  Thread: any; the environment itself is thread safe.
//
// Who may open what
//   - A segment is written by the process that made it, never again after a restart: LMDB trusts
//     the free list it finds. Its lock file (<file>-lock) exists until it is sealed, and readers of
//     other processes (store verify, inspect) register there, so that no page they look at is used
//     again.
//   - A sealed segment has no writer: it is read without a lock file, which costs nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/result.h"

struct MDB_env;

namespace weir::storage {

enum class SegmentAccess : uint8_t {
  kWrite,       // the one writer; readers of this process share its environment
  kReadShared,  // somebody else may be writing: registers in the lock file
  kReadSealed,  // nobody writes
};

class SegmentEnv {
 public:
  // map_bytes matters for kWrite only. An error is kNotFound, kCorrupt (not a segment of LMDB's),
  // kNoSpace or kIo.
  static Result<std::shared_ptr<SegmentEnv>> open(const std::string& path, SegmentAccess access,
                                                  uint64_t map_bytes);
  ~SegmentEnv();
  SegmentEnv(const SegmentEnv&) = delete;
  SegmentEnv& operator=(const SegmentEnv&) = delete;

  MDB_env* handle() const { return env_; }
  unsigned dbi() const { return dbi_; }
  uint64_t map_bytes() const;
  uint64_t used_bytes() const;  // pages in use or free inside the file
  uint64_t page_bytes() const { return page_bytes_; }
  // Frees the slots of readers that died (a killed `store verify`); cheap, for the writer.
  void clear_dead_readers();

 private:
  explicit SegmentEnv(MDB_env* env) : env_(env) {}
  Status prepare(SegmentAccess access);

  MDB_env* env_;
  unsigned dbi_ = 0;
  uint64_t page_bytes_ = 4096;
};

// An LMDB return code as an error: what names the operation, path the file.
[[nodiscard]] tl::unexpected<Error> fail_lmdb(int code, std::string_view what,
                                              std::string_view path);

}  // namespace weir::storage
