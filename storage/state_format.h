// How state is written: the keys and values of its one database. Used by the state thread, the
// check in the child process, the copy and the tools.
// Path: warm (per batch).  Thread: any; no state.
//
//   entry  := key -> payload checksum:u64     (XXH3 of payload, seeded with the key's hash)
//   'I'                              version id:16 secret:192 shards:u16 created_ms
//   'B'                              first batch number that was never reserved: u64
//   'C'                              1 after a clean stop, 0 while in use
//   'M'                              dead letters: the last confirmed record, u64
//   'S' shard:be16                   what is left of deleted segments: lowest live number, totals
//   'P' shard:be16 tenant            the same per tenant
//   'L' lane:be32                    name, kind, per shard start/frontier/floor, counts, and, since
//                                    there are consumers: active_ms max_idle_ms note, and then
//                                    per shard where it ended (0: it did not)
//   'T' lane:be32 tenant             counts
//   'O' lane:be32 batch:be64         open range
//   'X' lane:be32 shard:be16 first:be64            expired range
//   'D' lane:be32 shard:be16 first:be64 batch:be64 delivery row
//
// Numbers in keys are big endian so that they sort; integers in values are varints (signed ones
// zigzag). A tenant longer than kMaxKeyText is cut in the key and followed by its hash; the value
// has it whole. Letters and fields are persisted: never reuse, only add at the end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/lane.h"
#include "storage/state.h"

namespace weir::storage {

constexpr uint64_t kStateVersion = 1;
constexpr size_t kMaxLaneName = 200;
constexpr size_t kMaxKeyText = 256;

namespace state_key {
inline const std::string kIdentity = "I";
inline const std::string kBatch = "B";
inline const std::string kClean = "C";
inline const std::string kDeadLetterMark = "M";
std::string past(unsigned shard);
std::string past_tenant(unsigned shard, std::string_view tenant);
std::string lane(uint32_t lane);
std::string lane_tenant(uint32_t lane, std::string_view tenant);
std::string open_range(uint32_t lane, uint64_t batch);
std::string expired(uint32_t lane, unsigned shard, uint64_t first);
std::string delivery(uint32_t lane, unsigned shard, uint64_t first, uint64_t batch);
}  // namespace state_key

using ExpiredKey = std::pair<uint16_t, uint64_t>;  // shard, first
using ExpiredRanges = std::map<ExpiredKey, ExpiredRange>;

// One lane as the state half knows it.
struct LaneRecord {
  uint32_t id = 0;
  LaneState state;
  ExpiredRanges expired;
  // Not written: from the configuration of this run.
  LaneOptions options;
  bool holds = false;  // configured, or a consumer: holds segments and counts in totals
};

// Everything in state but the delivery rows.
struct StateImage {
  std::optional<StoreIdentity> identity;
  int64_t created_ms = 0;
  uint64_t next_batch = 1;
  bool clean = false;
  uint64_t dead_letter_mark = 0;
  std::vector<ShardPast> past;
  std::map<uint32_t, LaneRecord> lanes;
  uint64_t delivery_rows = 0;
};

// ---- values: a payload, sealed with its checksum
std::string seal_value(std::string_view key, std::string payload);
// The payload, or nothing when the checksum does not fit.
std::optional<std::string_view> open_value(std::string_view key, std::string_view value);

std::string encode_identity(const StoreIdentity& identity, int64_t created_ms);
std::string encode_number(uint64_t number);
std::string encode_past(const ShardPast& past);
std::string encode_past_tenant(const ShardPast& past, std::string_view tenant);
std::string encode_lane(const LaneState& lane);
std::string encode_lane_tenant(std::string_view tenant, const OutcomeCounts& counts);
std::string encode_open_range(const OpenRange& range);
std::string encode_expired(const ExpiredRange& range);
std::string encode_delivery(const DeliveryRow& row);

// The row a delivery entry holds, or nothing when it is not one or damaged.
std::optional<DeliveryRow> decode_delivery(std::string_view key, std::string_view value);

// Reads one entry into *image. Returns what is wrong with it, or an empty string.
std::string read_entry(std::string_view key, std::string_view value, StateImage* image);
// What is wrong with the whole, or an empty string: no identity, ranges of unknown lanes, ...
std::string check_image(StateImage* image);

// Calls put(key, payload) for every entry of image; delivery rows are not part of it.
void write_image(const StateImage& image, const std::function<void(std::string, std::string)>& put);

// The same for one lane.
void write_lane(const LaneRecord& lane, const std::function<void(std::string, std::string)>& put);

}  // namespace weir::storage
