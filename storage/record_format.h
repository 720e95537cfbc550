// The bytes of the log: what the records of a segment look like, how they are checked. Shared by
// the writer and the readers of segments; docs/storage-format.md has a worked example.
// Path: hot (encode_event per event).  Thread: any; pure functions.
//
// A segment is one tree of records under ascending 64-bit integer keys:
//   0                  the segment header
//   number * 2         a chunk of events, of which that is the first (chunk.h)
//   number * 2 + 1     the commit block of the group that ends with that number
//
//   header  := checksum:u64 version:u8 0:u8 shard:u16 0:u32 first:u64 created_ms:i64
//              store_id:16 secret:192
//   event   := checksum:u64 received_ms:i64 fingerprint:16 version:u8 head_size:u24 head raw
//   commit  := checksum:u64 version:u8 0:u8 tenants:u16 count:u32 first:u64 committed_ms:i64
//              oldest_ms:i64 newest_ms:i64 payload_bytes:u64 fingerprint{count} tenant{tenants}
//   tenant  := events:varint name_length:varint name
//
// Integers are little endian. Each checksum is XXH3-64 over what follows it, seeded with shard and
// key, so that a sound record in the wrong place fails too; that of an event goes over the XXH3-64
// (seed 0) of head and of raw in their place, so that the writer hashes both where it has them.
// A field that must be 0 is reserved.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/append.h"
#include "storage/base/bytes.h"
#include "storage/base/hash.h"
#include "storage/base/ids.h"

namespace weir::storage {

constexpr uint8_t kFormatVersion = 2;
constexpr uint64_t kMaxNumber = (uint64_t{1} << 47) - 1;  // 4 years at a million events a second
constexpr uint64_t kHeaderKey = 0;

constexpr uint64_t event_key(uint64_t number) { return number << 1; }
constexpr uint64_t commit_key(uint64_t last) { return last << 1 | 1; }
constexpr bool is_commit_key(uint64_t key) { return (key & 1) != 0; }
constexpr uint64_t key_number(uint64_t key) { return key >> 1; }

constexpr uint64_t checksum_seed(unsigned shard, uint64_t key) {
  return (uint64_t{shard} + 1) << 56 ^ key;
}

// ---- event records

constexpr size_t kEventHeaderSize = 36;
static_assert(kMaxHeadBytes < size_t{1} << 24);
struct EventRecord {
  int64_t received_ms = 0;
  Fingerprint fingerprint;
  std::string_view payload;  // LIFETIME: the bytes it was decoded from
};
// What an event's checksum covers: the header behind it, and the sums of head and raw.
inline uint64_t event_checksum(const char* header, std::string_view head, std::string_view raw,
                               unsigned shard, uint64_t number) {
  char covered[kEventHeaderSize - 8 + 16];
  std::memcpy(covered, header + 8, kEventHeaderSize - 8);
  store_le(covered + kEventHeaderSize - 8, checksum64(head, 0));
  store_le(covered + kEventHeaderSize, checksum64(raw, 0));
  return checksum64({covered, sizeof covered}, checksum_seed(shard, event_key(number)));
}
// Writes the record of kEventHeaderSize + head + raw bytes to `to`. Hot: one pass of copying, one
// of hashing, of the source: hashing the copy would wait for stores to memory that is not cached.
// REQUIRES: head.size() <= kMaxHeadBytes.
inline void encode_event(char* to, unsigned shard, uint64_t number, int64_t received_ms,
                         const Fingerprint& fingerprint, std::string_view head,
                         std::string_view raw) {
  char header[kEventHeaderSize];
  store_le(header + 8, received_ms);
  store_le(header + 16, fingerprint.low);
  store_le(header + 24, fingerprint.high);
  store_le(header + 32, static_cast<uint32_t>(kFormatVersion | head.size() << 8));
  store_le(header, event_checksum(header, head, raw, shard, number));
  std::memcpy(to, header, sizeof header);
  char* const payload = to + kEventHeaderSize;
  if (!head.empty()) std::memcpy(payload, head.data(), head.size());
  if (!raw.empty()) std::memcpy(payload + head.size(), raw.data(), raw.size());
}
// False: too short, wrong checksum or a version this build does not know.
bool decode_event(std::string_view bytes, unsigned shard, uint64_t number, EventRecord* record);

// ---- commit blocks

struct TenantEvents {
  std::string_view tenant;
  uint64_t events = 0;
};
struct CommitBlock {
  uint64_t first = 0;
  uint32_t count = 0;  // events first .. first + count - 1
  int64_t committed_ms = 0;
  int64_t oldest_ms = 0;  // received, of its events
  int64_t newest_ms = 0;
  uint64_t payload_bytes = 0;
  std::string_view fingerprints;  // 16 bytes each; fingerprint(i)
  std::string_view tenant_bytes;
  uint16_t tenants = 0;

  uint64_t last() const { return first + count - 1; }
  Fingerprint fingerprint(size_t i) const {
    return {load_le<uint64_t>(fingerprints.data() + i * 16),
            load_le<uint64_t>(fingerprints.data() + i * 16 + 8)};
  }
  // Calls visit(const TenantEvents&) for each; false when the bytes do not follow the grammar.
  template <class Visit>
  bool for_each_tenant(Visit visit) const {
    ByteReader reader(tenant_bytes);
    for (unsigned i = 0; i < tenants; ++i) {
      TenantEvents tenant;
      tenant.events = reader.varint();
      tenant.tenant = reader.sized_bytes();
      if (!reader.ok()) return false;
      visit(tenant);
    }
    return reader.at_end();
  }
};
// Replaces out by the encoded block; block.fingerprints must hold count * 16 bytes.
void encode_commit(std::string& out, unsigned shard, const CommitBlock& block,
                   std::span<const TenantEvents> tenants);
bool decode_commit(std::string_view bytes, unsigned shard, uint64_t last, CommitBlock* block);

// ---- segment headers

struct SegmentHeader {
  unsigned shard = 0;
  uint64_t first = 0;  // the first number the segment may hold; also in its file name
  int64_t created_ms = 0;
  StoreId store_id;
  DedupeSecret secret;
};
constexpr size_t kSegmentHeaderSize = 8 + 8 + 16 + 16 + DedupeSecret::kSize;
void encode_header(std::string& out, const SegmentHeader& header);
bool decode_header(std::string_view bytes, SegmentHeader* header);
// The version of a header with a sound checksum, also one this build does not know; else 0.
unsigned header_version(std::string_view bytes);

}  // namespace weir::storage
