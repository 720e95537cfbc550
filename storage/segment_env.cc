#include "storage/segment_env.h"

#include <lmdb.h>

#include <cerrno>

namespace weir::storage {

tl::unexpected<Error> fail_lmdb(int code, std::string_view what, std::string_view path) {
  if (code > 0) return fail_errno(code, "{} {}", what, path);
  const ErrorCode kind = code == MDB_MAP_FULL ? ErrorCode::kLimit
                         : code == MDB_PANIC  ? ErrorCode::kIo
                                              : ErrorCode::kCorrupt;
  return fail(kind, "{} {}: {}", what, path, mdb_strerror(code));
}

Result<std::shared_ptr<SegmentEnv>> SegmentEnv::open(const std::string& path, SegmentAccess access,
                                                     uint64_t map_bytes) {
  MDB_env* env = nullptr;
  if (const int code = mdb_env_create(&env); code != 0)
    return fail_lmdb(code, "cannot prepare to open", path);
  std::shared_ptr<SegmentEnv> segment(new SegmentEnv(env));
  // With read-ahead: segments are read in order, by lanes and consumers that are behind, mostly.
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
  if (access == SegmentAccess::kWrite)
    mdb_env_set_mapsize(env, map_bytes);
  else
    flags |= MDB_RDONLY;
  if (access == SegmentAccess::kReadSealed) flags |= MDB_NOLOCK;
  if (const int code = mdb_env_open(env, path.c_str(), flags, 0640); code != 0) {
    if (code == ENOENT) return fail(ErrorCode::kNotFound, "{} does not exist", path);
    return fail_lmdb(code, "cannot open", path);
  }
  WEIR_RETURN_IF_ERROR(segment->prepare(access));
  return segment;
}

Status SegmentEnv::prepare(SegmentAccess access) {
  MDB_stat stat;
  mdb_env_stat(env_, &stat);
  page_bytes_ = stat.ms_psize;
  MDB_txn* txn = nullptr;
  const bool writes = access == SegmentAccess::kWrite;
  int code = mdb_txn_begin(env_, nullptr, writes ? 0 : MDB_RDONLY, &txn);
  if (code != 0) return fail_lmdb(code, "cannot begin a transaction in", "a segment");
  code = mdb_dbi_open(txn, nullptr, writes ? MDB_INTEGERKEY : 0, &dbi_);
  if (code != 0) {
    mdb_txn_abort(txn);
    return fail_lmdb(code, "cannot open the tree of", "a segment");
  }
  // Committed also when reading: that is what makes the handle known to later transactions.
  code = mdb_txn_commit(txn);
  if (code != 0) return fail_lmdb(code, "cannot write the first page of", "a segment");
  return {};
}

SegmentEnv::~SegmentEnv() { mdb_env_close(env_); }

uint64_t SegmentEnv::map_bytes() const {
  MDB_envinfo info;
  mdb_env_info(env_, &info);
  return info.me_mapsize;
}

uint64_t SegmentEnv::used_bytes() const {
  MDB_envinfo info;
  mdb_env_info(env_, &info);
  return (info.me_last_pgno + 1) * page_bytes_;
}

void SegmentEnv::clear_dead_readers() {
  int dead = 0;
  mdb_reader_check(env_, &dead);
}

}  // namespace weir::storage
