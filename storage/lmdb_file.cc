#include "storage/lmdb_file.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/check.h"
#include "storage/disk.h"

namespace weir::storage {

const int kLmdbMapFull = MDB_MAP_FULL;

namespace {

ErrorCode code_of(int result) {
  switch (result) {
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
      return ErrorCode::kCorrupt;
    case MDB_NOTFOUND:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
      return ErrorCode::kPermission;
    default:
      return ErrorCode::kIo;
  }
}

tl::unexpected<Error> lmdb_error(int result, std::string_view doing, const std::string& path) {
  return tl::unexpected<Error>(
      Error{code_of(result), result, fmt::format("{} {}: {}", doing, path, mdb_strerror(result))});
}

MDB_val to_val(std::string_view bytes) {
  return MDB_val{bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view to_view(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

// LMDB maps its lock file and writes to the mapping: on a full disk a hole in it is a SIGBUS, so it
// is written out before.
Status prepare_lock_file(const std::string& path) {
  constexpr uint64_t kLockBytes = 8192;  // the header and 126 reader slots
  const std::string lock_path = path + "-lock";
  if (file_bytes(lock_path) >= kLockBytes) return {};
  const int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno(errno, "cannot create {}", lock_path);
  auto written = write_zeros(fd, 0, kLockBytes);
  ::close(fd);
  if (!written) unlink(lock_path.c_str());
  return written;
}

}  // namespace

Result<LmdbFile> LmdbFile::open(const std::string& path, const Options& options) {
  if (!options.exclusive && !options.read_only) WEIR_RETURN_IF_ERROR(prepare_lock_file(path));
  LmdbFile file;
  file.path_ = path;
  int result = mdb_env_create(&file.env_);
  if (result != 0) return lmdb_error(result, "cannot create an environment for", path);
  if (options.map_bytes > 0) {
    const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t map = (std::max(options.map_bytes, file_bytes(path)) + page - 1) / page * page;
    result = mdb_env_set_mapsize(file.env_, map);
    if (result != 0) return lmdb_error(result, "cannot set the map size of", path);
  }
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
  if (options.read_only) flags |= MDB_RDONLY;
  if (options.exclusive) flags |= MDB_NOLOCK;
  result = mdb_env_open(file.env_, path.c_str(), flags, 0600);
  if (result != 0) return lmdb_error(result, "cannot open", path);
  if (!options.exclusive && !options.read_only) {
    int dead = 0;
    mdb_reader_check(file.env_, &dead);  // slots of a killed process would pin its pages
  }
  MDB_txn* txn = nullptr;
  result = mdb_txn_begin(file.env_, nullptr, MDB_RDONLY, &txn);
  if (result != 0) return lmdb_error(result, "cannot read", path);
  result = mdb_dbi_open(txn, nullptr, 0, &file.dbi_);
  mdb_txn_abort(txn);
  if (result != 0) return lmdb_error(result, "cannot read", path);
  return file;
}

LmdbFile& LmdbFile::operator=(LmdbFile&& other) noexcept {
  close();
  path_ = std::move(other.path_);
  env_ = std::exchange(other.env_, nullptr);
  dbi_ = other.dbi_;
  return *this;
}

void LmdbFile::close() {
  if (env_ != nullptr) mdb_env_close(env_);
  env_ = nullptr;
}

int LmdbFile::fd() const {
  int fd = -1;
  mdb_env_get_fd(env_, &fd);
  return fd;
}

uint64_t LmdbFile::page_bytes() const {
  MDB_stat stat{};
  mdb_env_stat(env_, &stat);
  return stat.ms_psize;
}

uint64_t LmdbFile::used_bytes() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return (info.me_last_pgno + 1) * page_bytes();
}

uint64_t LmdbFile::map_bytes() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return info.me_mapsize;
}

Status LmdbFile::sync() {
  const int result = mdb_env_sync(env_, 1);
  if (result != 0) return lmdb_error(result, "cannot sync", path_);
  return {};
}

Result<LmdbTxn> LmdbTxn::begin(const LmdbFile& file, bool read_only) {
  MDB_txn* txn = nullptr;
  const int result = mdb_txn_begin(file.env(), nullptr, read_only ? MDB_RDONLY : 0, &txn);
  if (result != 0) return lmdb_error(result, "cannot begin a transaction in", file.path());
  return LmdbTxn(&file, txn);
}

Result<std::string_view> LmdbTxn::get(std::string_view key) const {
  MDB_val key_val = to_val(key);
  MDB_val value{};
  const int result = mdb_get(txn_, file_->dbi(), &key_val, &value);
  if (result == MDB_NOTFOUND) return std::string_view{};
  if (result != 0) return lmdb_error(result, "cannot read from", file_->path());
  return to_view(value);
}

Status LmdbTxn::put(std::string_view key, std::string_view value) {
  MDB_val key_val = to_val(key);
  MDB_val value_val = to_val(value);
  const int result = mdb_put(txn_, file_->dbi(), &key_val, &value_val, 0);
  if (result != 0) return lmdb_error(result, "cannot write to", file_->path());
  return {};
}

Status LmdbTxn::append(std::string_view key, std::string_view value) {
  MDB_val key_val = to_val(key);
  MDB_val value_val = to_val(value);
  const int result = mdb_put(txn_, file_->dbi(), &key_val, &value_val, MDB_APPEND);
  if (result != 0) return lmdb_error(result, "cannot append to", file_->path());
  return {};
}

Status LmdbTxn::erase(std::string_view key) {
  MDB_val key_val = to_val(key);
  const int result = mdb_del(txn_, file_->dbi(), &key_val, nullptr);
  if (result != 0 && result != MDB_NOTFOUND)
    return lmdb_error(result, "cannot delete from", file_->path());
  return {};
}

Status LmdbTxn::scan(std::string_view from,
                     FunctionRef<bool(std::string_view, std::string_view)> visit) const {
  MDB_cursor* cursor = nullptr;
  int result = mdb_cursor_open(txn_, file_->dbi(), &cursor);
  if (result != 0) return lmdb_error(result, "cannot read", file_->path());
  MDB_val key = to_val(from);
  MDB_val value{};
  result = mdb_cursor_get(cursor, &key, &value, from.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (result == 0 && visit(to_view(key), to_view(value)))
    result = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  mdb_cursor_close(cursor);
  if (result != 0 && result != MDB_NOTFOUND)
    return lmdb_error(result, "cannot read", file_->path());
  return {};
}

Status LmdbTxn::scan_back(std::string_view below,
                          FunctionRef<bool(std::string_view, std::string_view)> visit) const {
  MDB_cursor* cursor = nullptr;
  int result = mdb_cursor_open(txn_, file_->dbi(), &cursor);
  if (result != 0) return lmdb_error(result, "cannot read", file_->path());
  MDB_val key = to_val(below);
  MDB_val value{};
  result = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
  result = mdb_cursor_get(cursor, &key, &value, result == 0 ? MDB_PREV : MDB_LAST);
  while (result == 0 && visit(to_view(key), to_view(value)))
    result = mdb_cursor_get(cursor, &key, &value, MDB_PREV);
  mdb_cursor_close(cursor);
  if (result != 0 && result != MDB_NOTFOUND)
    return lmdb_error(result, "cannot read", file_->path());
  return {};
}

uint64_t LmdbTxn::entries() const {
  MDB_stat stat{};
  mdb_stat(txn_, file_->dbi(), &stat);
  return stat.ms_entries;
}

Status LmdbTxn::commit() {
  const int result = mdb_txn_commit(std::exchange(txn_, nullptr));
  if (result != 0) return lmdb_error(result, "cannot commit to", file_->path());
  return {};
}

void LmdbTxn::abort() {
  if (txn_ != nullptr) mdb_txn_abort(std::exchange(txn_, nullptr));
}

}  // namespace weir::storage
