// check_lmdb_file(): LMDB trusts its pages, so a damaged file is read here first by a parser that
// trusts nothing, then by LMDB itself, both in a child process that may die of it.
// Path: start-up.  Thread: the opening one.
//
// The page format is that of LMDB 0.9 on 64-bit little-endian machines (struct MDB_page, MDB_node,
// MDB_meta in its mdb.c):
//   page   := number:u64 pad:u16 flags:u16 (lower:u16 upper:u16 | overflow pages:u32) ...
//   branch, leaf := page, then (lower - 16) / 2 offsets:u16 of nodes
//   node   := low:u16 high:u16 flags:u16 key size:u16 key data
//   meta   := page 0 and 1 from byte 16: magic version address mapsize free-db main-db last-page
//   txn
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <vector>

#include "storage/base/bytes.h"
#include "storage/disk.h"
#include "storage/lmdb_file.h"

namespace weir::storage {
namespace {

constexpr uint32_t kMagic = 0xBEEFC0DE;
constexpr uint64_t kNoRoot = ~uint64_t{0};
constexpr size_t kPageHeader = 16;
constexpr size_t kNodeHeader = 8;
constexpr uint16_t kBranch = 1, kLeaf = 2, kOverflow = 4, kMeta = 8;
constexpr uint16_t kBigData = 1;
constexpr int kTimeoutMs = 120'000;

struct Tree {
  uint64_t entries = 0;
  uint64_t root = kNoRoot;
  uint16_t depth = 0;
};

struct Meta {
  Tree free_list;
  Tree main;
  uint64_t last_page = 0;
  uint64_t txn = 0;
};

// Walks every page reachable from the newest meta page and accounts for all of them.
class PageWalker {
 public:
  PageWalker(std::string_view file, size_t page_bytes) : file_(file), page_bytes_(page_bytes) {}

  // What is wrong, or empty.
  std::string walk() {
    Meta meta;
    if (!read_metas(&meta)) return problem_;
    if (meta.last_page >= file_.size() / page_bytes_)
      return fmt::format("the last page is {}, but the file ends before it", meta.last_page);
    used_.assign(meta.last_page + 1, false);
    used_[0] = used_[1] = true;
    if (!walk_tree(meta.free_list, /*free_list=*/true)) return problem_;
    if (!walk_tree(meta.main, /*free_list=*/false)) return problem_;
    // Never-reused pages may be lost by an old LMDB (it leaks, it does not damage), so a page that
    // is neither used nor free is accepted; one that is both is not.
    for (uint64_t page : free_pages_)
      if (!claim(page, "the free list")) return problem_;
    return {};
  }

 private:
  template <class... Args>
  bool bad(fmt::format_string<Args...> format, Args&&... args) {
    problem_ = fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  std::string_view page(uint64_t number) const {
    return file_.substr(number * page_bytes_, page_bytes_);
  }

  static Tree read_tree(const char* at) {
    return Tree{load_le<uint64_t>(at + 32), load_le<uint64_t>(at + 40), load_le<uint16_t>(at + 6)};
  }

  bool read_metas(Meta* newest) {
    if (file_.size() < 2 * page_bytes_) return bad("the file has no meta pages");
    bool found = false;
    for (uint64_t number = 0; number < 2; ++number) {
      const char* at = page(number).data();
      if ((load_le<uint16_t>(at + 10) & kMeta) == 0)
        return bad("page {} is not a meta page", number);
      if (load_le<uint64_t>(at) != number) return bad("meta page {} has a wrong number", number);
      const char* body = at + kPageHeader;
      if (load_le<uint32_t>(body) != kMagic || load_le<uint32_t>(body + 4) != 1)
        return bad("meta page {} has no valid header", number);
      if (load_le<uint32_t>(body + 24) != page_bytes_)
        return bad("meta page {} has another page size", number);
      Meta meta{read_tree(body + 24), read_tree(body + 72), load_le<uint64_t>(body + 120),
                load_le<uint64_t>(body + 128)};
      // LMDB writes transaction n to page n mod 2; the fresh file has 0 in both.
      if (meta.txn > 1 && (meta.txn & 1) != number)
        return bad("meta page {} has the transaction number {}", number, meta.txn);
      if (!found || meta.txn > newest->txn) *newest = meta;
      other_txn_ = found ? std::min(other_txn_, meta.txn) : meta.txn;
      found = true;
    }
    if (newest->txn > 1 && newest->txn - other_txn_ != 1)
      return bad("the meta pages have the transaction numbers {} and {}", other_txn_, newest->txn);
    return true;
  }

  bool claim(uint64_t number, std::string_view by) {
    if (number < 2 || number >= used_.size())
      return bad("{} refers to page {} of {}", by, number, used_.size());
    if (used_[number]) return bad("{} refers to page {}, which is used twice", by, number);
    used_[number] = true;
    return true;
  }

  bool walk_tree(const Tree& tree, bool free_list) {
    entries_ = 0;
    last_key_.clear();
    has_last_key_ = false;
    if (tree.root == kNoRoot)
      return tree.entries == 0 || bad("a tree of {} entries has no root", tree.entries);
    if (tree.depth == 0 || tree.depth > 32) return bad("a tree has the depth {}", tree.depth);
    if (!walk_page(tree.root, tree.depth, free_list)) return false;
    if (entries_ != tree.entries)
      return bad("a tree has {} entries instead of {}", entries_, tree.entries);
    return true;
  }

  bool walk_page(uint64_t number, unsigned levels, bool free_list) {
    if (!claim(number, "the tree")) return false;
    const std::string_view bytes = page(number);
    const char* at = bytes.data();
    const auto flags = load_le<uint16_t>(at + 10);
    const size_t lower = load_le<uint16_t>(at + 12);
    const size_t upper = load_le<uint16_t>(at + 14);
    const bool leaf = levels == 1;
    if (load_le<uint64_t>(at) != number) return bad("page {} has a wrong number", number);
    if (flags != (leaf ? kLeaf : kBranch)) return bad("page {} has the flags {:#x}", number, flags);
    if (lower < kPageHeader || lower > upper || upper > page_bytes_ || lower % 2 != 0)
      return bad("page {} has the bounds {} and {}", number, lower, upper);
    const size_t nodes = (lower - kPageHeader) / 2;
    for (size_t i = 0; i < nodes; ++i) {
      const size_t offset = load_le<uint16_t>(at + kPageHeader + 2 * i);
      if (offset < upper || offset + kNodeHeader > page_bytes_)
        return bad("page {} has a node at {}", number, offset);
      const bool fine = leaf ? walk_leaf_node(number, bytes.substr(offset), free_list)
                             : walk_branch_node(number, bytes.substr(offset), levels, free_list);
      if (!fine) return false;
    }
    return true;
  }

  bool walk_branch_node(uint64_t number, std::string_view node, unsigned levels, bool free_list) {
    const size_t key_size = load_le<uint16_t>(node.data() + 6);
    if (kNodeHeader + key_size > node.size()) return bad("page {} has a node too long", number);
    const uint64_t child = uint64_t{load_le<uint16_t>(node.data())} |
                           uint64_t{load_le<uint16_t>(node.data() + 2)} << 16 |
                           uint64_t{load_le<uint16_t>(node.data() + 4)} << 32;
    return walk_page(child, levels - 1, free_list);
  }

  bool walk_leaf_node(uint64_t number, std::string_view node, bool free_list) {
    const uint64_t size = uint64_t{load_le<uint16_t>(node.data())} |
                          uint64_t{load_le<uint16_t>(node.data() + 2)} << 16;
    const auto flags = load_le<uint16_t>(node.data() + 4);
    const size_t key_size = load_le<uint16_t>(node.data() + 6);
    const size_t stored = (flags & kBigData) != 0 ? sizeof(uint64_t) : size;
    if ((flags & ~kBigData) != 0 || kNodeHeader + key_size + stored > node.size())
      return bad("page {} has a node that is too long or of an unknown kind", number);
    const std::string_view key = node.substr(kNodeHeader, key_size);
    std::string_view value = node.substr(kNodeHeader + key_size, stored);
    if ((flags & kBigData) != 0 && !overflow_value(load_le<uint64_t>(value.data()), size, &value))
      return false;
    ++entries_;
    if (free_list) return read_free_pages(key, value);
    if (has_last_key_ && std::string_view(last_key_) >= key)
      return bad("page {} has keys out of order", number);
    last_key_.assign(key);
    has_last_key_ = true;
    return true;
  }

  bool overflow_value(uint64_t first, uint64_t size, std::string_view* value) {
    const uint64_t pages = (kPageHeader - 1 + size) / page_bytes_ + 1;
    for (uint64_t i = 0; i < pages; ++i)
      if (!claim(first + i, "a large value")) return false;
    const char* at = page(first).data();
    if (load_le<uint64_t>(at) != first || load_le<uint16_t>(at + 10) != kOverflow ||
        load_le<uint32_t>(at + 12) != pages)
      return bad("overflow page {} has a wrong header", first);
    *value = file_.substr(first * page_bytes_ + kPageHeader, size);
    return true;
  }

  bool read_free_pages(std::string_view key, std::string_view value) {
    if (key.size() != 8 || value.size() < 8) return bad("the free list has an odd entry");
    const auto count = load_le<uint64_t>(value.data());
    if (count > value.size() / 8 - 1) return bad("the free list has an entry of {} pages", count);
    for (uint64_t i = 0; i < count; ++i) {
      const auto number = load_le<uint64_t>(value.data() + 8 + 8 * i);
      if (i > 0 && number >= free_pages_.back()) return bad("the free list is out of order");
      free_pages_.push_back(number);
    }
    return true;
  }

  std::string_view file_;
  size_t page_bytes_;
  std::vector<bool> used_;
  std::vector<uint64_t> free_pages_;
  uint64_t entries_ = 0;
  uint64_t other_txn_ = 0;
  std::string last_key_;
  bool has_last_key_ = false;
  std::string problem_;
};

using EntryCheck = FunctionRef<std::string(std::string_view, std::string_view)>;

// The three functions below run in the child and say what is wrong, or nothing.
std::string walk_pages(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const uint64_t size = file_bytes(path);
  if (fd < 0 || size == 0) return "it is empty or cannot be opened";
  void* map = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return "it cannot be mapped";
  const auto page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return PageWalker(std::string_view(static_cast<const char*>(map), size), page_bytes).walk();
}

std::string walk_entries(const std::string& path, EntryCheck check,
                         FunctionRef<std::string()> finish, bool in_use) {
  LmdbFile::Options options;
  options.read_only = true;
  options.exclusive = !in_use;
  auto file = LmdbFile::open(path, options);
  if (!file) return file.error().message;
  auto txn = LmdbTxn::read(*file);
  if (!txn) return txn.error().message;
  std::string problem;
  uint64_t entries = 0;
  auto scanned = txn->scan({}, [&](std::string_view key, std::string_view value) {
    ++entries;
    problem = check(key, value);
    return problem.empty();
  });
  if (!scanned) return scanned.error().message;
  if (!problem.empty()) return problem;
  if (entries != txn->entries())
    return fmt::format("{} entries were found instead of {}", entries, txn->entries());
  return finish();
}

std::string walk_file(const std::string& path, EntryCheck check, FunctionRef<std::string()> finish,
                      bool in_use) {
  if (!in_use)
    if (std::string problem = walk_pages(path); !problem.empty()) return problem;
  return walk_entries(path, check, finish, in_use);
}

[[noreturn]] void run_child(int out, const std::string& path, EntryCheck check,
                            FunctionRef<std::string()> finish, bool in_use) {
  for (int signal_number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE})
    signal(signal_number, SIG_DFL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const std::string problem = walk_file(path, check, finish, in_use);
  const char verdict = problem.empty() ? '+' : '-';
  bool told = write(out, &verdict, 1) == 1;
  told = told && write(out, problem.data(), problem.size()) >= 0;
  _exit(told ? 0 : 1);
}

// Everything the child said until it closed its end; false when it took too long.
bool read_verdict(int in, std::string* said) {
  for (;;) {
    pollfd ready{in, POLLIN, 0};
    const int polled = poll(&ready, 1, kTimeoutMs);
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return false;
    char buffer[1024];
    const ssize_t got = read(in, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    said->append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

Status check_lmdb_file(const std::string& path, EntryCheck check, FunctionRef<std::string()> finish,
                       bool in_use) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "cannot make a pipe to check {}", path);
  const pid_t child = fork();
  if (child < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    return fail_errno(error, "cannot start the process that checks {}", path);
  }
  if (child == 0) {
    close(ends[0]);
    run_child(ends[1], path, check, finish, in_use);
  }
  close(ends[1]);
  std::string said;
  if (!read_verdict(ends[0], &said)) kill(child, SIGKILL);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return fail(ErrorCode::kCorrupt, "{} is damaged: reading it ended with signal {}", path,
                WTERMSIG(status));
  if (said.empty() || said[0] != '+')
    return fail(ErrorCode::kCorrupt, "{} is damaged: {}", path,
                said.size() > 1 ? said.substr(1) : "reading it ended without an answer");
  return {};
}

}  // namespace weir::storage
