#include "storage/state_format.h"

#include <cstring>

#include "storage/base/bytes.h"

namespace weir::storage {
namespace {

template <class T>
void append_be(std::string& out, T value) {
  for (int shift = 8 * (static_cast<int>(sizeof value) - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
}

template <class T>
T take_be(std::string_view* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof value; ++i)
    value = static_cast<T>(value << 8 | static_cast<unsigned char>((*from)[i]));
  from->remove_prefix(sizeof value);
  return value;
}

void append_signed(std::string& out, int64_t value) {
  append_varint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}
int64_t read_signed(ByteReader& in) {
  const uint64_t raw = in.varint();
  return static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
}

void append_key_text(std::string& key, std::string_view text) {
  if (text.size() <= kMaxKeyText) {
    key.append(text);
    return;
  }
  key.append(text.substr(0, kMaxKeyText));
  append_be(key, hash64(text));
}

void append_counts(std::string& out, const OutcomeCounts& counts) {
  append_varint(out, counts.sent);
  append_varint(out, counts.failed);
  append_varint(out, counts.expired);
  append_varint(out, counts.skipped);
}
OutcomeCounts read_counts(ByteReader& in) {
  OutcomeCounts counts;
  counts.sent = in.varint();
  counts.failed = in.varint();
  counts.expired = in.varint();
  counts.skipped = in.varint();
  return counts;
}

uint64_t tenant_count(const TenantCounts& counts, std::string_view tenant) {
  auto found = counts.tenants.find(tenant);
  return found == counts.tenants.end() ? 0 : found->second;
}

template <class Number>
std::string key_of(char letter, Number number) {
  std::string key(1, letter);
  append_be(key, number);
  return key;
}

}  // namespace

namespace state_key {

std::string past(unsigned shard) { return key_of('S', static_cast<uint16_t>(shard)); }

std::string past_tenant(unsigned shard, std::string_view tenant) {
  std::string key = key_of('P', static_cast<uint16_t>(shard));
  append_key_text(key, tenant);
  return key;
}

std::string lane(uint32_t lane) { return key_of('L', lane); }

std::string lane_tenant(uint32_t lane, std::string_view tenant) {
  std::string key = key_of('T', lane);
  append_key_text(key, tenant);
  return key;
}

std::string open_range(uint32_t lane, uint64_t batch) {
  std::string key = key_of('O', lane);
  append_be(key, batch);
  return key;
}

std::string expired(uint32_t lane, unsigned shard, uint64_t first) {
  std::string key = key_of('X', lane);
  append_be(key, static_cast<uint16_t>(shard));
  append_be(key, first);
  return key;
}

std::string delivery(uint32_t lane, unsigned shard, uint64_t first, uint64_t batch) {
  std::string key = key_of('D', lane);
  append_be(key, static_cast<uint16_t>(shard));
  append_be(key, first);
  append_be(key, batch);
  return key;
}

}  // namespace state_key

std::string seal_value(std::string_view key, std::string payload) {
  append_le(payload, checksum64(payload, hash64(key)));
  return payload;
}

std::optional<std::string_view> open_value(std::string_view key, std::string_view value) {
  if (value.size() < sizeof(uint64_t)) return std::nullopt;
  const std::string_view payload = value.substr(0, value.size() - sizeof(uint64_t));
  if (load_le<uint64_t>(value.data() + payload.size()) != checksum64(payload, hash64(key)))
    return std::nullopt;
  return payload;
}

std::string encode_identity(const StoreIdentity& identity, int64_t created_ms) {
  std::string out;
  append_varint(out, kStateVersion);
  out.append(reinterpret_cast<const char*>(identity.id.bytes.data()), identity.id.bytes.size());
  out.append(reinterpret_cast<const char*>(identity.secret.bytes), DedupeSecret::kSize);
  append_varint(out, identity.shards);
  append_signed(out, created_ms);
  return out;
}

std::string encode_number(uint64_t number) {
  std::string out;
  append_varint(out, number);
  return out;
}

std::string encode_past(const ShardPast& past) {
  std::string out;
  append_varint(out, past.lowest_live);
  append_varint(out, past.accepted.events);
  append_varint(out, past.failed.events);
  append_varint(out, past.unfinished.events);
  return out;
}

std::string encode_past_tenant(const ShardPast& past, std::string_view tenant) {
  std::string out;
  append_sized_bytes(out, tenant);
  append_varint(out, tenant_count(past.accepted, tenant));
  append_varint(out, tenant_count(past.failed, tenant));
  append_varint(out, tenant_count(past.unfinished, tenant));
  return out;
}

std::string encode_lane(const LaneState& lane) {
  std::string out;
  append_sized_bytes(out, lane.name);
  out.push_back(static_cast<char>(lane.kind));
  append_varint(out, lane.shards.size());
  for (const LaneShard& shard : lane.shards) {
    append_varint(out, shard.start);
    append_varint(out, shard.frontier);
    append_varint(out, shard.floor);
  }
  append_counts(out, lane.counts);
  append_signed(out, lane.active_ms);
  append_signed(out, lane.max_idle_ms);
  append_sized_bytes(out, lane.note);
  for (const LaneShard& shard : lane.shards) append_varint(out, shard.ended);
  return out;
}

std::string encode_lane_tenant(std::string_view tenant, const OutcomeCounts& counts) {
  std::string out;
  append_sized_bytes(out, tenant);
  append_counts(out, counts);
  return out;
}

std::string encode_open_range(const OpenRange& range) {
  std::string out;
  append_varint(out, range.shard);
  append_varint(out, range.first);
  append_varint(out, range.last);
  out.push_back(static_cast<char>(range.state));
  append_varint(out, range.attempts);
  append_signed(out, range.opened_ms);
  append_signed(out, range.first_attempt_ms);
  append_signed(out, range.not_before_ms);
  append_sized_bytes(out, std::string_view(range.last_error).substr(0, OpenRange::kMaxErrorBytes));
  append_sized_bytes(out, range.owner);
  return out;
}

std::string encode_expired(const ExpiredRange& range) {
  std::string out;
  append_varint(out, range.last);
  append_varint(out, range.events);
  append_signed(out, range.at_ms);
  append_sized_bytes(out, range.reason);
  return out;
}

std::string encode_delivery(const DeliveryRow& row) {
  std::string out;
  append_varint(out, row.last);
  append_varint(out, row.attempts);
  append_signed(out, row.status);
  append_signed(out, row.finished_ms);
  return out;
}

std::optional<DeliveryRow> decode_delivery(std::string_view key, std::string_view value) {
  constexpr size_t kKeySize = 1 + 4 + 2 + 8 + 8;
  const auto payload = open_value(key, value);
  if (key.size() != kKeySize || key[0] != 'D' || !payload) return std::nullopt;
  key.remove_prefix(5);
  DeliveryRow row;
  row.shard = take_be<uint16_t>(&key);
  row.first = take_be<uint64_t>(&key);
  row.batch_number = take_be<uint64_t>(&key);
  ByteReader in(*payload);
  row.last = in.varint();
  row.attempts = static_cast<uint32_t>(in.varint());
  row.status = static_cast<int>(read_signed(in));
  row.finished_ms = read_signed(in);
  if (!in.ok()) return std::nullopt;
  return row;
}

namespace {

// The readers below return false when the entry does not follow the grammar.

bool read_identity(ByteReader in, StateImage* image) {
  if (in.varint() != kStateVersion) return false;
  StoreIdentity identity;
  const std::string_view id = in.bytes(identity.id.bytes.size());
  const std::string_view secret = in.bytes(DedupeSecret::kSize);
  identity.shards = static_cast<uint16_t>(in.varint());
  image->created_ms = read_signed(in);
  if (!in.ok() || identity.shards == 0 || identity.shards > kMaxShards) return false;
  std::memcpy(identity.id.bytes.data(), id.data(), id.size());
  std::memcpy(identity.secret.bytes, secret.data(), secret.size());
  image->identity = identity;
  return true;
}

ShardPast* past_of(std::string_view* key, StateImage* image) {
  const auto shard = take_be<uint16_t>(key);
  if (shard >= kMaxShards) return nullptr;
  if (image->past.size() <= shard) image->past.resize(shard + 1u);
  return &image->past[shard];
}

bool read_past(std::string_view key, ByteReader in, StateImage* image) {
  if (key.size() != 2) return false;
  ShardPast* past = past_of(&key, image);
  if (past == nullptr) return false;
  past->lowest_live = in.varint();
  past->accepted.events = in.varint();
  past->failed.events = in.varint();
  past->unfinished.events = in.varint();
  return in.ok() && past->lowest_live > 0;
}

bool read_past_tenant(std::string_view key, ByteReader in, StateImage* image) {
  if (key.size() < 2) return false;
  ShardPast* past = past_of(&key, image);
  if (past == nullptr) return false;
  const std::string tenant(in.sized_bytes());
  if (const uint64_t n = in.varint(); n > 0) past->accepted.tenants[tenant] = n;
  if (const uint64_t n = in.varint(); n > 0) past->failed.tenants[tenant] = n;
  if (const uint64_t n = in.varint(); n > 0) past->unfinished.tenants[tenant] = n;
  return in.ok();
}

bool read_lane(ByteReader in, LaneRecord* lane) {
  lane->state.name = std::string(in.sized_bytes());
  const auto kind = in.le<uint8_t>();
  const uint64_t shards = in.varint();
  if (kind > static_cast<uint8_t>(LaneKind::kConsumer) || shards == 0 || shards > kMaxShards)
    return false;
  lane->state.kind = static_cast<LaneKind>(kind);
  lane->state.shards.resize(shards);
  for (LaneShard& shard : lane->state.shards) {
    shard.start = in.varint();
    shard.frontier = in.varint();
    shard.floor = in.varint();
  }
  lane->state.counts = read_counts(in);
  if (!in.at_end()) {  // written since consumers exist
    lane->state.active_ms = read_signed(in);
    lane->state.max_idle_ms = read_signed(in);
    lane->state.note = std::string(in.sized_bytes());
  }
  if (!in.at_end())  // written since it is known where a removed destination ended
    for (LaneShard& shard : lane->state.shards) shard.ended = in.varint();
  return in.ok() && !lane->state.name.empty();
}

// Entries that belong to a lane sort after 'L' or before it ('D'), so the lane may be unknown yet.
bool read_open_range(std::string_view key, ByteReader in, LaneRecord* lane) {
  if (key.size() != 8) return false;
  OpenRange range;
  range.number = take_be<uint64_t>(&key);
  range.shard = static_cast<uint16_t>(in.varint());
  range.first = in.varint();
  range.last = in.varint();
  const auto state = in.le<uint8_t>();
  range.attempts = static_cast<uint32_t>(in.varint());
  range.opened_ms = read_signed(in);
  range.first_attempt_ms = read_signed(in);
  range.not_before_ms = read_signed(in);
  range.last_error = std::string(in.sized_bytes());
  range.owner = std::string(in.sized_bytes());
  if (!in.ok() || state > static_cast<uint8_t>(RangeState::kDelayed)) return false;
  if (range.first > range.last || range.shard >= lane->state.shards.size()) return false;
  range.state = static_cast<RangeState>(state);
  lane->state.shards[range.shard].open[range.number] = std::move(range);
  return true;
}

bool read_expired(std::string_view key, ByteReader in, LaneRecord* lane) {
  if (key.size() != 10) return false;
  ExpiredRange range;
  range.shard = take_be<uint16_t>(&key);
  range.first = take_be<uint64_t>(&key);
  range.last = in.varint();
  range.events = in.varint();
  range.at_ms = read_signed(in);
  range.reason = std::string(in.sized_bytes());
  if (!in.ok() || range.first > range.last || range.shard >= lane->state.shards.size())
    return false;
  lane->expired[{range.shard, range.first}] = std::move(range);
  return true;
}

bool read_lane_entry(char letter, std::string_view key, ByteReader in, StateImage* image) {
  if (key.size() < 4) return false;
  const auto id = take_be<uint32_t>(&key);
  if (letter == 'L') {
    LaneRecord& lane = image->lanes[id];
    lane.id = id;
    return key.empty() && read_lane(in, &lane);
  }
  auto found = image->lanes.find(id);
  if (found == image->lanes.end()) return false;  // 'L' sorts before 'O', 'T' and 'X'
  if (letter == 'O') return read_open_range(key, in, &found->second);
  if (letter == 'X') return read_expired(key, in, &found->second);
  const std::string tenant(in.sized_bytes());
  found->second.state.tenants[tenant] = read_counts(in);
  return in.ok();
}

bool read_payload(std::string_view key, std::string_view payload, StateImage* image) {
  ByteReader in(payload);
  const char letter = key[0];
  key.remove_prefix(1);
  switch (letter) {
    case 'I':
      return read_identity(in, image);
    case 'B':
      image->next_batch = in.varint();
      return in.ok();
    case 'C':
      image->clean = in.varint() == 1;
      return in.ok();
    case 'M':
      image->dead_letter_mark = in.varint();
      return in.ok();
    case 'S':
      return read_past(key, in, image);
    case 'P':
      return read_past_tenant(key, in, image);
    case 'L':
    case 'T':
    case 'O':
    case 'X':
      return read_lane_entry(letter, key, in, image);
    default:
      return true;  // from a newer version: kept, not understood
  }
}

}  // namespace

std::string read_entry(std::string_view key, std::string_view value, StateImage* image) {
  if (key.empty()) return "an entry has no key";
  const auto payload = open_value(key, value);
  if (!payload) return fmt::format("the checksum of an entry '{}' is wrong", key[0]);
  if (key[0] == 'D') {
    ++image->delivery_rows;
    if (!decode_delivery(key, value)) return "a delivery row does not follow the format";
    return {};
  }
  if (!read_payload(key, *payload, image))
    return fmt::format("an entry '{}' does not follow the format", key[0]);
  return {};
}

std::string check_image(StateImage* image) {
  if (!image->identity) return "it has no identity";
  const size_t shards = image->identity->shards;
  if (image->past.size() > shards) return "it describes more shards than the store has";
  image->past.resize(shards);
  for (const auto& [id, lane] : image->lanes)
    if (lane.state.shards.size() != shards)
      return fmt::format("lane {} has {} shards instead of {}", lane.state.name,
                         lane.state.shards.size(), shards);
  return {};
}

void write_lane(const LaneRecord& lane, const std::function<void(std::string, std::string)>& put) {
  put(state_key::lane(lane.id), encode_lane(lane.state));
  for (const LaneShard& shard : lane.state.shards)
    for (const auto& [number, range] : shard.open)
      put(state_key::open_range(lane.id, number), encode_open_range(range));
  for (const auto& [tenant, counts] : lane.state.tenants)
    put(state_key::lane_tenant(lane.id, tenant), encode_lane_tenant(tenant, counts));
  for (const auto& [key, range] : lane.expired)
    put(state_key::expired(lane.id, key.first, key.second), encode_expired(range));
}

void write_image(const StateImage& image,
                 const std::function<void(std::string, std::string)>& put) {
  put(state_key::kBatch, encode_number(image.next_batch));
  put(state_key::kClean, encode_number(image.clean ? 1 : 0));
  put(state_key::kIdentity, encode_identity(*image.identity, image.created_ms));
  put(state_key::kDeadLetterMark, encode_number(image.dead_letter_mark));
  for (unsigned shard = 0; shard < image.past.size(); ++shard) {
    const ShardPast& past = image.past[shard];
    put(state_key::past(shard), encode_past(past));
    TenantCounts all = past.accepted;  // every tenant that has any of the three
    all.add(past.failed);
    all.add(past.unfinished);
    for (const auto& [tenant, count] : all.tenants)
      put(state_key::past_tenant(shard, tenant), encode_past_tenant(past, tenant));
  }
  for (const auto& [id, lane] : image.lanes) write_lane(lane, put);
}

}  // namespace weir::storage
