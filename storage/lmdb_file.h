// One LMDB environment in one file (MDB_NOSUBDIR, MDB_NOTLS, one unnamed database), as `state` and
// the dead letters use it. Owns the handles; errors are values with the file's name in them.
// Path: warm.  Thread: write transactions belong to one thread at a time; each read transaction is
// used by one thread, any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/function_ref.h"
#include "storage/base/result.h"

struct MDB_env;
struct MDB_txn;

namespace weir::storage {

// Error::os_errno of an error that came from LMDB itself, for callers that must tell it apart.
extern const int kLmdbMapFull;

class LmdbFile {
 public:
  struct Options {
    uint64_t map_bytes = 0;
    bool read_only = false;
    bool exclusive = false;  // nobody else can have it open: no lock file
  };
  static Result<LmdbFile> open(const std::string& path, const Options& options);

  LmdbFile() = default;
  ~LmdbFile() { close(); }
  LmdbFile(LmdbFile&& other) noexcept { *this = std::move(other); }
  LmdbFile& operator=(LmdbFile&& other) noexcept;
  void close();

  const std::string& path() const { return path_; }
  int fd() const;
  uint64_t page_bytes() const;
  uint64_t used_bytes() const;  // up to the last page ever used
  uint64_t map_bytes() const;
  Status sync();
  unsigned dbi() const { return dbi_; }
  MDB_env* env() const { return env_; }

 private:
  std::string path_;
  MDB_env* env_ = nullptr;
  unsigned dbi_ = 0;
};

// Aborts unless committed. REQUIRES: the file outlives it.
class LmdbTxn {
 public:
  static Result<LmdbTxn> read(const LmdbFile& file) { return begin(file, true); }
  static Result<LmdbTxn> write(LmdbFile& file) { return begin(file, false); }
  ~LmdbTxn() { abort(); }
  LmdbTxn(LmdbTxn&& other) noexcept
      : file_(other.file_), txn_(std::exchange(other.txn_, nullptr)) {}
  LmdbTxn& operator=(LmdbTxn&&) = delete;

  // The value, valid until the transaction ends (or writes); empty data() when there is none.
  Result<std::string_view> get(std::string_view key) const;
  Status put(std::string_view key, std::string_view value);
  Status append(std::string_view key, std::string_view value);  // key above every other
  Status erase(std::string_view key);                           // absent: no error
  // Calls visit(key, value) for every entry from the first key at or after `from`, in order, until
  // it returns false.
  Status scan(std::string_view from,
              FunctionRef<bool(std::string_view, std::string_view)> visit) const;
  // The same backwards from the last key below `below`.
  Status scan_back(std::string_view below,
                   FunctionRef<bool(std::string_view, std::string_view)> visit) const;
  uint64_t entries() const;
  Status commit();
  void abort();
  MDB_txn* handle() const { return txn_; }

 private:
  LmdbTxn(const LmdbFile* file, MDB_txn* txn) : file_(file), txn_(txn) {}
  static Result<LmdbTxn> begin(const LmdbFile& file, bool read_only);

  const LmdbFile* file_;
  MDB_txn* txn_;
};

// Walks the file in a forked child: page accounting (every page is in use exactly once or free),
// the number of entries, and check(key, value) for each, which returns what is wrong or an empty
// string; finish() has the last word. A child that dies or hangs means damaged. Returns kCorrupt
// with what was found. in_use: another process may be writing; then pages are not accounted for.
// Best called while the process has no other thread.
Status check_lmdb_file(const std::string& path,
                       FunctionRef<std::string(std::string_view, std::string_view)> check,
                       FunctionRef<std::string()> finish, bool in_use = false);

}  // namespace weir::storage
