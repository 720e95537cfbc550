#include "storage/segment_reader.h"

#include <lmdb.h>

#include <utility>

#include "storage/base/bytes.h"

namespace weir::storage {

Result<SegmentReader> SegmentReader::begin(std::shared_ptr<SegmentEnv> env) {
  SegmentReader reader(std::move(env));
  int code = mdb_txn_begin(reader.env_->handle(), nullptr, MDB_RDONLY, &reader.txn_);
  if (code != 0) {
    reader.txn_ = nullptr;
    return fail_lmdb(code, "cannot begin to read", "a segment");
  }
  code = mdb_cursor_open(reader.txn_, reader.env_->dbi(), &reader.cursor_);
  if (code != 0) {
    reader.cursor_ = nullptr;
    return fail_lmdb(code, "cannot read", "a segment");
  }
  return reader;
}

SegmentReader::SegmentReader(SegmentReader&& other) noexcept
    : env_(std::move(other.env_)),
      txn_(std::exchange(other.txn_, nullptr)),
      cursor_(std::exchange(other.cursor_, nullptr)),
      key_(other.key_),
      value_(other.value_),
      code_(other.code_) {}

SegmentReader::~SegmentReader() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

bool SegmentReader::seek(uint64_t key) { return move(MDB_SET_RANGE, key); }

bool SegmentReader::seek_exact(uint64_t key) { return seek(key) && key_ == key; }

bool SegmentReader::seek_at_or_before(uint64_t key) {
  if (!move(MDB_SET_RANGE, key)) return code_ == 0 && last();
  return key_ == key || move(MDB_PREV, 0);
}

bool SegmentReader::last() { return move(MDB_LAST, 0); }

bool SegmentReader::next() { return move(MDB_NEXT, 0); }

bool SegmentReader::move(int operation, uint64_t key) {
  MDB_val name{sizeof key, &key};
  MDB_val value{0, nullptr};
  const int code = mdb_cursor_get(cursor_, &name, &value, static_cast<MDB_cursor_op>(operation));
  code_ = code == MDB_NOTFOUND ? 0 : code;
  if (code != 0) return false;
  if (name.mv_size != sizeof key_) {
    code_ = MDB_CORRUPTED;
    return false;
  }
  key_ = load_le<uint64_t>(static_cast<const char*>(name.mv_data));
  value_ = {static_cast<const char*>(value.mv_data), value.mv_size};
  return true;
}

}  // namespace weir::storage
