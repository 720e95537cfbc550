#include "tests/storage/faults.h"

#include <dlfcn.h>
#include <lmdb.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace weir::storage::faults {
namespace {

constexpr off_t kMetaPages = 2 * 4096;

bool is_log_file(int fd) {
  char link[64];
  char path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return false;
  path[size] = '\0';
  return strstr(path, "/seg-") != nullptr || strstr(path, "/next-") != nullptr;
}

int failed(int error) {
  errno = error;
  return -1;
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

Plan& plan() {
  static Plan plan;
  return plan;
}

void Plan::reset() {
  sync_error = syncs_until_error = sync_delay_ms = write_error = meta_error = 0;
  commits_map_full = puts_map_full_at = 0;
  disk_free = -1;
}

}  // namespace weir::storage::faults

using weir::storage::faults::plan;

extern "C" int fdatasync(int fd) {
  if (weir::storage::faults::is_log_file(fd)) {
    ++plan().syncs;
    if (const int delay = plan().sync_delay_ms; delay > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    if (plan().sync_error != 0 && plan().syncs_until_error-- <= 0)
      return weir::storage::faults::failed(plan().sync_error);
  }
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  if (weir::storage::faults::is_log_file(fd)) {
    const bool meta = offset < weir::storage::faults::kMetaPages && size < 4096;
    const int error = meta ? plan().meta_error : plan().write_error;
    if (error != 0) return weir::storage::faults::failed(error);
  }
  return syscall(SYS_pwrite64, fd, from, size, offset);
}

extern "C" ssize_t writev(int fd, const iovec* parts, int count) {
  if (plan().write_error != 0 && weir::storage::faults::is_log_file(fd))
    return weir::storage::faults::failed(plan().write_error);
  return syscall(SYS_writev, fd, parts, count);
}

extern "C" int statvfs(const char* path, struct statvfs* info) noexcept {
  static auto* const real =
      weir::storage::faults::real<int(const char*, struct statvfs*)>("statvfs");
  const int code = real(path, info);
  if (const int64_t free = plan().disk_free; code == 0 && free >= 0)
    info->f_bavail = info->f_bfree = static_cast<fsblkcnt_t>(free) / info->f_frsize;
  return code;
}

extern "C" int mdb_txn_commit(MDB_txn* txn) {
  static auto* const real = weir::storage::faults::real<int(MDB_txn*)>("mdb_txn_commit");
  if (plan().commits_map_full > 0) {
    --plan().commits_map_full;
    mdb_txn_abort(txn);
    return MDB_MAP_FULL;
  }
  return real(txn);
}

extern "C" int mdb_cursor_put(MDB_cursor* cursor, MDB_val* key, MDB_val* value, unsigned flags) {
  static auto* const real =
      weir::storage::faults::real<int(MDB_cursor*, MDB_val*, MDB_val*, unsigned)>("mdb_cursor_put");
  if (plan().puts_map_full_at > 0 && --plan().puts_map_full_at == 0) return MDB_MAP_FULL;
  return real(cursor, key, value, flags);
}
