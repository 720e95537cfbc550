// Reads one segment inside one short transaction.
// Path: warm.  Thread: the one that made it.
//
//   WEIR_ASSIGN_OR_RETURN(auto reader, SegmentReader::begin(env));
//   for (bool more = reader.seek(key); more; more = reader.next()) use(reader.key(),
//   reader.value());
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "storage/base/result.h"
#include "storage/segment_env.h"

struct MDB_txn;
struct MDB_cursor;

namespace weir::storage {

class SegmentReader {
 public:
  static Result<SegmentReader> begin(std::shared_ptr<SegmentEnv> env);
  ~SegmentReader();
  SegmentReader(SegmentReader&& other) noexcept;
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;
  SegmentReader& operator=(SegmentReader&&) = delete;

  // False when there is none, or on an error (status()).
  bool seek(uint64_t key);        // to the first record at or after key
  bool seek_exact(uint64_t key);  // to that record
  bool seek_at_or_before(uint64_t key);
  bool last();
  bool next();

  uint64_t key() const { return key_; }
  std::string_view value() const { return value_; }  // LIFETIME: until the reader is gone
  int code() const { return code_; }                 // LMDB's, 0 or the error that ended a walk

 private:
  explicit SegmentReader(std::shared_ptr<SegmentEnv> env) : env_(std::move(env)) {}
  bool move(int operation, uint64_t key);

  std::shared_ptr<SegmentEnv> env_;
  MDB_txn* txn_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  uint64_t key_ = 0;
  std::string_view value_;
  int code_ = 0;
};

}  // namespace weir::storage
