#include "storage/sidecar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <numeric>
#include <span>
#include <thread>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr std::string_view kMagic = "WEIRFP1\n";
constexpr size_t kHeadSize = 8 + 8 + 8 + 4 + 4 + 8;
constexpr size_t kCheckedEntries = 4096;  // read at once while the checksum is computed
constexpr size_t kReadEntries = 512;      // held by an open reader: 12 KiB
constexpr size_t kSortedAtOnce = 64;
constexpr size_t kWrittenAtOnce = size_t{256} << 10;
constexpr uint64_t kAddedAtOnce = 4096;                    // entries; between two yields
constexpr uint64_t kReservedEntries = uint64_t{16} << 20;  // of a segment; more grow as they come
constexpr uint64_t kSeed = 0x77656972'66700001;  // a sidecar is never taken for something else

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

  bool write_all(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), kWrittenAtOnce));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(written));
      std::this_thread::yield();
    }
    return true;
  }
  bool read_at(uint64_t offset, char* to, size_t size) const {
    while (size > 0) {
      const ssize_t got = pread(fd_, to, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      to += got;
      size -= static_cast<size_t>(got);
      offset += static_cast<uint64_t>(got);
    }
    return true;
  }

 private:
  int fd_;
};

struct Head {
  uint64_t table_checksum = 0;
  uint64_t table = 0;  // where the entries begin
  uint32_t entries = 0;
  int64_t created_ms = 0;
  SegmentSummary summary;
};

bool read_head(const File& file, Head* head) {
  std::string bytes(kHeadSize, '\0');
  if (!file.read_at(0, bytes.data(), bytes.size())) return false;
  if (std::string_view(bytes).substr(0, kMagic.size()) != kMagic) return false;
  const auto checksum = load_le<uint64_t>(bytes.data() + 8);
  head->table_checksum = load_le<uint64_t>(bytes.data() + 16);
  const auto summary_size = load_le<uint32_t>(bytes.data() + 24);
  head->entries = load_le<uint32_t>(bytes.data() + 28);
  head->created_ms = load_le<int64_t>(bytes.data() + 32);
  head->table = kHeadSize + summary_size;
  struct stat info {};
  if (fstat(file.fd(), &info) != 0) return false;
  if (static_cast<uint64_t>(info.st_size) !=
      head->table + uint64_t{head->entries} * sizeof(SidecarEntry))
    return false;
  bytes.resize(head->table);
  if (!file.read_at(kHeadSize, bytes.data() + kHeadSize, summary_size)) return false;
  if (checksum != checksum64(std::string_view(bytes).substr(16), kSeed)) return false;
  ByteReader reader(std::string_view(bytes).substr(kHeadSize));
  return read_summary(reader, &head->summary) && reader.at_end();
}

Result<Head> read_head(const File& file, const std::string& path) {
  if (file.fd() < 0) return fail_errno(errno, "cannot open {}", path);
  Head head;
  if (!read_head(file, &head)) return fail(ErrorCode::kCorrupt, "{} has no sound head", path);
  return head;
}

SidecarEntry decode_entry(const char* from) {
  return {load_le<uint64_t>(from), load_le<uint64_t>(from + 8), load_le<uint32_t>(from + 16),
          load_le<uint32_t>(from + 20)};
}

}  // namespace

namespace {

// By 8 bits at a time from the top, in place ("American flag sort", McIlroy, Bostic and McIlroy
// 1993): a second array would double what a large segment takes, and more bits at once would leave
// the processor's cache. `below`: how many bits of `high` are not yet the same within entries.
void sort_by_fingerprint(std::span<SidecarEntry> entries, unsigned below = 64) {
  if (entries.size() <= kSortedAtOnce || below == 0) {
    std::sort(entries.begin(), entries.end(), [](const SidecarEntry& a, const SidecarEntry& b) {
      return a.high != b.high ? a.high < b.high : a.low < b.low;
    });
    return;
  }
  below -= 8;
  const auto bucket = [below](const SidecarEntry& entry) { return entry.high >> below & 255; };
  std::array<uint32_t, 257> ends{};
  for (const SidecarEntry& entry : entries) ++ends[bucket(entry) + 1];
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::array<uint32_t, 256> next;
  std::copy_n(ends.begin(), next.size(), next.begin());
  for (size_t i = 0; i < next.size(); ++i) {
    while (next[i] < ends[i + 1]) {
      SidecarEntry& here = entries[next[i]];
      const size_t wanted = bucket(here);
      if (wanted == i)
        ++next[i];
      else
        std::swap(here, entries[next[wanted]++]);
    }
    if (entries.size() > kAddedAtOnce) std::this_thread::yield();
  }
  for (size_t i = 0; i < next.size(); ++i)
    sort_by_fingerprint(entries.subspan(ends[i], ends[i + 1] - ends[i]), below);
  if (entries.size() > kSortedAtOnce * 4) std::this_thread::yield();
}

}  // namespace

SidecarBuilder::SidecarBuilder(const SegmentSummary& summary) : summary_(summary) {
  entries_.reserve(std::min(summary.events, kReservedEntries));
}

void SidecarBuilder::add(const CommitBlock& block) {
  const int64_t age = std::max<int64_t>(block.committed_ms - summary_.created_ms, 0) / 1000;
  for (uint32_t i = 0; i < block.count; ++i) {
    const Fingerprint fingerprint = block.fingerprint(i);
    if (fingerprint.empty()) continue;
    entries_.push_back({fingerprint.high, fingerprint.low,
                        static_cast<uint32_t>(block.first + i - summary_.first),
                        static_cast<uint32_t>(age)});
  }
  if (entries_.size() - yielded_at_ < kAddedAtOnce) return;
  yielded_at_ = entries_.size();
  std::this_thread::yield();
}

Status SidecarBuilder::write(const std::string& path) {
  sort_by_fingerprint(entries_);
  summary_.fingerprints = entries_.size();
  std::string summary;
  append_summary(summary, summary_);
  const std::string_view table(reinterpret_cast<const char*>(entries_.data()),
                               entries_.size() * sizeof(SidecarEntry));
  std::string head(kMagic);
  append_le(head, uint64_t{0});
  append_le(head, checksum64(table, kSeed));
  append_le(head, static_cast<uint32_t>(summary.size()));
  append_le(head, static_cast<uint32_t>(entries_.size()));
  append_le(head, summary_.created_ms);
  head += summary;
  store_le(head.data() + 8, checksum64(std::string_view(head).substr(16), kSeed));

  const std::string temporary = path + ".tmp";
  const File file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (file.fd() < 0) return fail_errno(errno, "cannot create {}", temporary);
  if (!file.write_all(head) || !file.write_all(table) || fsync(file.fd()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    return fail_errno(reason, "cannot write {}", temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0)
    return fail_errno(errno, "cannot rename {} to {}", temporary, path);
  return {};
}

struct SidecarReader::Impl {
  File file;
  Head head;
  std::string piece;    // whole entries
  size_t in_piece = 0;  // bytes of it that were read from the file
  size_t at = 0;        // in piece
  uint64_t next = 0;    // in the file, behind the piece

  explicit Impl(int fd) : file(fd) {}
  uint64_t end() const { return head.table + uint64_t{head.entries} * sizeof(SidecarEntry); }
  // False at the end, or when the file cannot be read any more.
  bool fill() {
    in_piece = std::min<uint64_t>(piece.size(), end() - next);
    at = 0;
    if (in_piece == 0 || !file.read_at(next, piece.data(), in_piece)) return in_piece = 0, false;
    next += in_piece;
    return true;
  }
  void rewind(size_t piece_entries) {
    piece.resize(piece_entries * sizeof(SidecarEntry));
    next = head.table;
    in_piece = at = 0;
  }
};

SidecarReader::SidecarReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SidecarReader::~SidecarReader() = default;

Result<std::unique_ptr<SidecarReader>> SidecarReader::open(const std::string& path) {
  auto impl = std::make_unique<Impl>(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  WEIR_ASSIGN_OR_RETURN(impl->head, read_head(impl->file, path));
  // A pass of its own, so that no entry is believed before the checksum of all holds.
  Checksum64 checksum(kSeed);
  impl->rewind(kCheckedEntries);
  while (impl->fill()) checksum.update(std::string_view(impl->piece).substr(0, impl->in_piece));
  if (impl->next != impl->end() || checksum.digest() != impl->head.table_checksum)
    return fail(ErrorCode::kCorrupt, "{} fails its checksum", path);
  impl->rewind(kReadEntries);
  impl->piece.shrink_to_fit();
  return std::unique_ptr<SidecarReader>(new SidecarReader(std::move(impl)));
}

const SegmentSummary& SidecarReader::summary() const { return impl_->head.summary; }
uint32_t SidecarReader::entries() const { return impl_->head.entries; }

bool SidecarReader::peek(KnownFingerprint* known) {
  if (impl_->at == impl_->in_piece && !impl_->fill()) return false;
  const SidecarEntry entry = decode_entry(impl_->piece.data() + impl_->at);
  *known = {{entry.low, entry.high},
            impl_->head.summary.first + entry.number_offset,
            impl_->head.created_ms + int64_t{entry.time_offset_s} * 1000};
  return true;
}

void SidecarReader::skip() { impl_->at += sizeof(SidecarEntry); }

Result<SegmentSummary> read_sidecar(const std::string& path,
                                    FunctionRef<void(const KnownFingerprint&)> visit) {
  WEIR_ASSIGN_OR_RETURN(const auto reader, SidecarReader::open(path));
  for (KnownFingerprint known; reader->peek(&known); reader->skip()) visit(known);
  return reader->summary();
}

Result<SegmentSummary> read_sidecar_summary(const std::string& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  WEIR_ASSIGN_OR_RETURN(Head head, read_head(file, path));
  return std::move(head.summary);
}

Result<std::optional<uint64_t>> find_in_sidecar(const std::string& path,
                                                const Fingerprint& fingerprint) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  WEIR_ASSIGN_OR_RETURN(const Head head, read_head(file, path));
  uint64_t low = 0;
  uint64_t high = head.entries;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    char raw[sizeof(SidecarEntry)];
    if (!file.read_at(head.table + middle * sizeof raw, raw, sizeof raw))
      return fail(ErrorCode::kCorrupt, "{} cannot be read", path);
    const SidecarEntry entry = decode_entry(raw);
    if (entry.high == fingerprint.high && entry.low == fingerprint.low)
      return std::optional<uint64_t>(head.summary.first + entry.number_offset);
    const bool below = entry.high != fingerprint.high ? entry.high < fingerprint.high
                                                      : entry.low < fingerprint.low;
    if (below) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::optional<uint64_t>();
}

}  // namespace weir::storage
