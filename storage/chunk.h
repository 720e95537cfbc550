// Chunks: what the log stores under one key. A chunk is a run of consecutive events of one commit
// group behind a directory of where each of them ends; docs/storage-format.md has a worked example.
// Path: hot (add() per event).  Thread: any; nothing here is shared.
//
//   chunk := checksum:u64 version:u8 0:u24 count:u32 end:u32{count} event{count}
//
// An end is counted from the beginning of the chunk. The chunk's checksum covers the directory (all
// between itself and the events), each event has its own: a flipped bit in an event costs that
// event, one in the directory the chunk.
//
// Writing: a ChunkPlan divides a group into chunks when the sizes of its events are known, then a
// ChunkEncoder per chunk writes the events straight into the bytes the segment reserved for it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/record_format.h"

namespace weir::storage {

constexpr size_t kChunkHeaderSize = 16;
constexpr size_t kChunkEndSize = 4;
// With LMDB's page header these fill whole pages. An event that is larger is a chunk of its own.
// So is each event of a small group: a chunk of more than half a page takes whole ones, which then
// costs more space than it saves.
#ifdef WEIR_TINY_LIMITS
constexpr size_t kMaxChunkBytes = (size_t{4} << 10) - 16;
constexpr size_t kSmallGroupBytes = 256;
#else
constexpr size_t kMaxChunkBytes = (size_t{64} << 10) - 16;
constexpr size_t kSmallGroupBytes = size_t{8} << 10;
#endif

struct ChunkSize {
  uint32_t count = 0;  // events
  size_t bytes = 0;    // of the whole chunk
};

// Which events of a group share a chunk. Reused from group to group.
class ChunkPlan {
 public:
  // A new group, of about that many bytes.
  void begin(uint64_t group_bytes) {
    chunks_.clear();
    limit_ = group_bytes < kSmallGroupBytes ? 0 : kMaxChunkBytes;
  }
  // The next event of the group, record bytes long.
  void add(size_t record) {
    const size_t bytes = kChunkEndSize + record;
    if (chunks_.empty() || chunks_.back().bytes + bytes > limit_)
      chunks_.push_back({0, kChunkHeaderSize});
    ++chunks_.back().count;
    chunks_.back().bytes += bytes;
  }
  const std::vector<ChunkSize>& chunks() const { return chunks_; }

 private:
  std::vector<ChunkSize> chunks_;
  size_t limit_ = 0;  // bytes of a chunk with more than one event
};

class ChunkEncoder {
 public:
  // to: size.bytes bytes. REQUIRES: size.bytes <= UINT32_MAX.
  ChunkEncoder(char* to, unsigned shard, uint64_t first, const ChunkSize& size);
  // The next event. REQUIRES: left() > 0 and that it was planned with this size.
  void add(int64_t received_ms, const Fingerprint& fingerprint, std::string_view head,
           std::string_view raw) {
    encode_event(to_ + at_, shard_, first_ + added_, received_ms, fingerprint, head, raw);
    at_ += kEventHeaderSize + head.size() + raw.size();
    store_le(to_ + kChunkHeaderSize + added_ * kChunkEndSize, static_cast<uint32_t>(at_));
    ++added_;
  }
  uint32_t left() const { return size_.count - added_; }
  // Writes header and checksum. REQUIRES: left() == 0.
  void finish();

 private:
  char* const to_;
  const unsigned shard_;
  const uint64_t first_;
  const ChunkSize size_;
  size_t at_;
  uint32_t added_ = 0;
};

// A chunk whose directory is sound.
class ChunkView {
 public:
  // What is wrong with the directory; empty: nothing, and the view is of this chunk.
  // LIFETIME: bytes outlive the view.
  [[nodiscard]] std::string_view decode(std::string_view bytes, unsigned shard, uint64_t first);

  uint64_t first() const { return first_; }
  uint32_t count() const { return count_; }
  uint64_t end() const { return first_ + count_; }  // one behind its last event
  // False: its checksum fails. REQUIRES: first() <= number < end().
  bool event(uint64_t number, EventRecord* record) const;

 private:
  size_t end_of(size_t i) const {
    return load_le<uint32_t>(bytes_.data() + kChunkHeaderSize + i * kChunkEndSize);
  }

  std::string_view bytes_;
  unsigned shard_ = 0;
  uint64_t first_ = 0;
  uint32_t count_ = 0;
};

}  // namespace weir::storage
