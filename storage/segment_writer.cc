#include "storage/segment_writer.h"

#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <cerrno>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

// Pages a commit may need besides its records: the path from the root copied, the free list
// written and rewritten, and a tree that grows by a level.
constexpr uint64_t kSparePages = 24;

}  // namespace

bool is_map_full(int code) { return code == MDB_MAP_FULL; }

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::create(const std::string& path,
                                                             uint64_t map_bytes) {
  for (const std::string& old : {path, path + "-lock"})
    if (unlink(old.c_str()) != 0 && errno != ENOENT)
      return fail_errno(errno, "cannot remove the unused segment {}", old);
  WEIR_ASSIGN_OR_RETURN(auto env, SegmentEnv::open(path, SegmentAccess::kWrite, map_bytes));
  mdb_filehandle_t file = -1;
  mdb_env_get_fd(env->handle(), &file);
  if (fsync(file) != 0) return fail_errno(errno, "cannot sync the new segment {}", path);
  return std::unique_ptr<SegmentWriter>(new SegmentWriter(std::move(env)));
}

SegmentWriter::SegmentWriter(std::shared_ptr<SegmentEnv> env)
    : env_(std::move(env)), map_bytes_(env_->map_bytes()) {}

SegmentWriter::~SegmentWriter() { abort(); }

int SegmentWriter::begin() {
  WEIR_CHECK(txn_ == nullptr);
  int code = mdb_txn_begin(env_->handle(), nullptr, 0, &txn_);
  if (code != 0) {
    txn_ = nullptr;
    return code;
  }
  code = mdb_cursor_open(txn_, env_->dbi(), &cursor_);
  if (code != 0) {
    cursor_ = nullptr;
    abort();
  }
  return code;
}

int SegmentWriter::reserve(uint64_t key, size_t size, char** to) {
  MDB_val name{sizeof key, &key};
  MDB_val value{size, nullptr};
  const int code = mdb_cursor_put(cursor_, &name, &value, MDB_APPEND | MDB_RESERVE);
  if (code != 0) {
    abort();
    return code;
  }
  *to = static_cast<char*>(value.mv_data);
  return 0;
}

int SegmentWriter::append(uint64_t key, std::string_view value) {
  char* to = nullptr;
  const int code = reserve(key, value.size(), &to);
  if (code == 0) std::memcpy(to, value.data(), value.size());
  return code;
}

int SegmentWriter::commit() {
  mdb_cursor_close(cursor_);
  cursor_ = nullptr;
  MDB_txn* txn = txn_;
  txn_ = nullptr;
  return mdb_txn_commit(txn);
}

void SegmentWriter::abort() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  cursor_ = nullptr;
  if (txn_ != nullptr) mdb_txn_abort(txn_);
  txn_ = nullptr;
}

uint64_t SegmentWriter::room() const {
  const uint64_t used = env_->used_bytes() + kSparePages * env_->page_bytes();
  return used < map_bytes_ ? map_bytes_ - used : 0;
}

uint64_t SegmentWriter::record_cost(size_t size) {
  static const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // LMDB keeps a value inside a leaf up to about half a page (node header, key, slot: 18 bytes);
  // longer ones get pages of their own behind a 16-byte page header, and a reference in a leaf.
  const uint64_t in_leaf = size + 18;
  // Appending fills a leaf up to the last record that fits: what it wastes is less than the record
  // behind it takes. For a small one that is at most a seventh of the leaf, charged to what is in
  // it; a large one is charged twice, with the page header and the leaf's entry in a branch.
  if (in_leaf <= page / 8) return in_leaf + in_leaf / 6;
  if (in_leaf <= page / 2 - 16) return in_leaf * 2 + 40;
  return (size + 16 + page - 1) / page * page + 32;
}

}  // namespace weir::storage
