#include "storage/record_format.h"

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr size_t kCommitHeaderSize = 56;

// True when the checksum in front of `bytes` covers the rest.
bool checksum_holds(std::string_view bytes, unsigned shard, uint64_t key) {
  return load_le<uint64_t>(bytes.data()) == checksum64(bytes.substr(8), checksum_seed(shard, key));
}

void put_checksum(std::string& out, unsigned shard, uint64_t key) {
  store_le(out.data(), checksum64(std::string_view(out).substr(8), checksum_seed(shard, key)));
}

}  // namespace

bool decode_event(std::string_view bytes, unsigned shard, uint64_t number, EventRecord* record) {
  if (bytes.size() < kEventHeaderSize) return false;
  const uint32_t version_and_size = load_le<uint32_t>(bytes.data() + 32);
  const size_t head_size = version_and_size >> 8;
  const std::string_view payload = bytes.substr(kEventHeaderSize);
  if (head_size > payload.size()) return false;
  if (load_le<uint64_t>(bytes.data()) != event_checksum(bytes.data(), payload.substr(0, head_size),
                                                        payload.substr(head_size), shard, number))
    return false;
  if ((version_and_size & 0xff) != kFormatVersion) return false;
  record->received_ms = load_le<int64_t>(bytes.data() + 8);
  record->fingerprint = {load_le<uint64_t>(bytes.data() + 16),
                         load_le<uint64_t>(bytes.data() + 24)};
  record->payload = payload;
  return true;
}

void encode_commit(std::string& out, unsigned shard, const CommitBlock& block,
                   std::span<const TenantEvents> tenants) {
  WEIR_CHECK(block.count > 0 && block.fingerprints.size() == size_t{block.count} * 16);
  WEIR_CHECK(tenants.size() <= UINT16_MAX);
  out.clear();
  append_le(out, uint64_t{0});
  append_le(out, kFormatVersion);
  append_le(out, uint8_t{0});
  append_le(out, static_cast<uint16_t>(tenants.size()));
  append_le(out, block.count);
  append_le(out, block.first);
  append_le(out, block.committed_ms);
  append_le(out, block.oldest_ms);
  append_le(out, block.newest_ms);
  append_le(out, block.payload_bytes);
  out.append(block.fingerprints);
  for (const TenantEvents& tenant : tenants) {
    append_varint(out, tenant.events);
    append_sized_bytes(out, tenant.tenant);
  }
  put_checksum(out, shard, commit_key(block.last()));
}

bool decode_commit(std::string_view bytes, unsigned shard, uint64_t last, CommitBlock* block) {
  if (bytes.size() < kCommitHeaderSize) return false;
  if (!checksum_holds(bytes, shard, commit_key(last))) return false;
  ByteReader reader(bytes.substr(8));
  const auto version = reader.le<uint8_t>();
  reader.le<uint8_t>();
  block->tenants = reader.le<uint16_t>();
  block->count = reader.le<uint32_t>();
  block->first = reader.le<uint64_t>();
  block->committed_ms = reader.le<int64_t>();
  block->oldest_ms = reader.le<int64_t>();
  block->newest_ms = reader.le<int64_t>();
  block->payload_bytes = reader.le<uint64_t>();
  block->fingerprints = reader.bytes(uint64_t{block->count} * 16);
  block->tenant_bytes = reader.rest();
  if (!reader.ok() || version != kFormatVersion || block->count == 0) return false;
  if (block->first == 0 || block->first > last || block->last() != last) return false;
  uint64_t events = 0;
  const bool whole =
      block->for_each_tenant([&](const TenantEvents& tenant) { events += tenant.events; });
  return whole && events == block->count;
}

void encode_header(std::string& out, const SegmentHeader& header) {
  out.clear();
  append_le(out, uint64_t{0});
  append_le(out, kFormatVersion);
  append_le(out, uint8_t{0});
  append_le(out, static_cast<uint16_t>(header.shard));
  append_le(out, uint32_t{0});
  append_le(out, header.first);
  append_le(out, header.created_ms);
  out.append(reinterpret_cast<const char*>(header.store_id.bytes.data()), 16);
  out.append(reinterpret_cast<const char*>(header.secret.bytes), DedupeSecret::kSize);
  put_checksum(out, header.shard, kHeaderKey);
}

bool decode_header(std::string_view bytes, SegmentHeader* header) {
  if (bytes.size() != kSegmentHeaderSize || header_version(bytes) != kFormatVersion) return false;
  header->shard = load_le<uint16_t>(bytes.data() + 10);
  header->first = load_le<uint64_t>(bytes.data() + 16);
  header->created_ms = load_le<int64_t>(bytes.data() + 24);
  std::memcpy(header->store_id.bytes.data(), bytes.data() + 32, 16);
  std::memcpy(header->secret.bytes, bytes.data() + 48, DedupeSecret::kSize);
  return header->shard < 8;
}

unsigned header_version(std::string_view bytes) {
  if (bytes.size() < 12) return 0;
  const auto shard = load_le<uint16_t>(bytes.data() + 10);
  return checksum_holds(bytes, shard, kHeaderKey) ? static_cast<uint8_t>(bytes[8]) : 0;
}

}  // namespace weir::storage
