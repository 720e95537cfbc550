#include "storage/chunk.h"

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr size_t directory_end(uint64_t count) { return kChunkHeaderSize + count * kChunkEndSize; }

uint64_t directory_checksum(std::string_view bytes, uint64_t count, unsigned shard,
                            uint64_t first) {
  return checksum64(bytes.substr(8, directory_end(count) - 8),
                    checksum_seed(shard, event_key(first)));
}

}  // namespace

ChunkEncoder::ChunkEncoder(char* to, unsigned shard, uint64_t first, const ChunkSize& size)
    : to_(to), shard_(shard), first_(first), size_(size), at_(directory_end(size.count)) {
  WEIR_CHECK(size.bytes <= UINT32_MAX);
}

void ChunkEncoder::finish() {
  WEIR_CHECK(added_ == size_.count && at_ == size_.bytes);
  store_le(to_ + 8, uint32_t{kFormatVersion});
  store_le(to_ + 12, size_.count);
  store_le(to_, directory_checksum({to_, size_.bytes}, size_.count, shard_, first_));
}

std::string_view ChunkView::decode(std::string_view bytes, unsigned shard, uint64_t first) {
  if (bytes.size() < kChunkHeaderSize) return "it is too short for a chunk";
  const auto count = load_le<uint32_t>(bytes.data() + 12);
  if (directory_end(count) > bytes.size()) return "its directory is longer than it is";
  if (load_le<uint64_t>(bytes.data()) != directory_checksum(bytes, count, shard, first))
    return "its directory fails its checksum";
  if (static_cast<uint8_t>(bytes[8]) != kFormatVersion) return "its version is not known";
  if (count == 0) return "it holds no event";
  if (first == 0 || first > kMaxNumber - count) return "its numbers are out of range";
  bytes_ = bytes;
  shard_ = shard;
  first_ = first;
  count_ = count;
  size_t begin = directory_end(count);
  for (size_t i = 0; i < count; ++i) {
    const size_t end = end_of(i);
    if (end < begin + kEventHeaderSize || end > bytes.size())
      return "its directory does not describe its events";
    begin = end;
  }
  if (begin != bytes.size()) return "its directory does not describe its events";
  return {};
}

bool ChunkView::event(uint64_t number, EventRecord* record) const {
  const auto i = static_cast<size_t>(number - first_);
  const size_t begin = i == 0 ? directory_end(count_) : end_of(i - 1);
  return decode_event(bytes_.substr(begin, end_of(i) - begin), shard_, number, record);
}

}  // namespace weir::storage
