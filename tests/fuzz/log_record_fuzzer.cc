// Decoding the log's records, sidecar heads and summaries from any bytes: refused, or decoded into
// views that lie inside them. The checksum would stop nearly all of it, so the fuzzer repairs it.
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/chunk.h"
#include "storage/segment_summary.h"

namespace {

using weir::storage::CommitBlock;

void check_inside(std::string_view whole, std::string_view part) {
  if (part.empty()) return;
  WEIR_CHECK(part.data() >= whole.data());
  WEIR_CHECK(part.data() + part.size() <= whole.data() + whole.size());
}

void repair_checksum(std::string& bytes, unsigned shard, uint64_t key) {
  if (bytes.size() < 8) return;
  weir::store_le(bytes.data(), weir::checksum64(std::string_view(bytes).substr(8),
                                                weir::storage::checksum_seed(shard, key)));
}

// Whatever the directory says, the events it leads to lie inside the chunk.
void decode_chunk(std::string bytes, uint64_t first) {
  using weir::storage::kChunkEndSize;
  using weir::storage::kChunkHeaderSize;
  if (bytes.size() < kChunkHeaderSize) return;
  const uint64_t directory =
      kChunkHeaderSize + uint64_t{weir::load_le<uint32_t>(bytes.data() + 12)} * kChunkEndSize;
  if (directory <= bytes.size())
    weir::store_le(bytes.data(), weir::checksum64(std::string_view(bytes).substr(8, directory - 8),
                                                  weir::storage::checksum_seed(
                                                      0, weir::storage::event_key(first))));
  weir::storage::ChunkView chunk;
  if (!chunk.decode(bytes, 0, first).empty()) return;
  WEIR_CHECK(chunk.count() > 0 && chunk.end() <= weir::storage::kMaxNumber);
  for (uint64_t number = first; number < chunk.end(); ++number) {
    weir::storage::EventRecord record;
    if (chunk.event(number, &record)) check_inside(bytes, record.payload);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const uint64_t number = size > 0 ? data[0] + 1U : 1;

  weir::storage::EventRecord record;
  repair_checksum(bytes, 0, weir::storage::event_key(number));
  if (weir::storage::decode_event(bytes, 0, number, &record)) check_inside(bytes, record.payload);

  decode_chunk(bytes, number);

  CommitBlock block;
  // The block says itself which number it ends with.
  uint64_t last = number;
  if (bytes.size() >= 24)
    last =
        weir::load_le<uint64_t>(bytes.data() + 16) + weir::load_le<uint32_t>(bytes.data() + 12) - 1;
  repair_checksum(bytes, 0, weir::storage::commit_key(last));
  if (weir::storage::decode_commit(bytes, 0, last, &block)) {
    check_inside(bytes, block.fingerprints);
    uint64_t events = 0;
    WEIR_CHECK(block.for_each_tenant([&](const weir::storage::TenantEvents& tenant) {
      check_inside(bytes, tenant.tenant);
      events += tenant.events;
    }));
    WEIR_CHECK(events == block.count && block.last() == last);
    WEIR_CHECK(block.fingerprints.size() == size_t{block.count} * 16);
    weir::storage::SegmentSummary summary;
    summary.first = block.first;
    summary.add(block);
    std::string again;
    weir::storage::append_summary(again, summary);
    weir::ByteReader reader(again);
    weir::storage::SegmentSummary read;
    if (summary.last <= weir::storage::kMaxNumber)
      WEIR_CHECK(weir::storage::read_summary(reader, &read) && read.tenants == summary.tenants);
  }

  weir::storage::SegmentHeader header;
  const unsigned shard = bytes.size() > 11 ? weir::load_le<uint16_t>(bytes.data() + 10) : 0;
  repair_checksum(bytes, shard, weir::storage::kHeaderKey);
  if (weir::storage::decode_header(bytes, &header))
    WEIR_CHECK(weir::storage::header_version(bytes) == weir::storage::kFormatVersion);

  weir::ByteReader reader(bytes);
  weir::storage::SegmentSummary summary;
  weir::storage::read_summary(reader, &summary);
  return 0;
}
