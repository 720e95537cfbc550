#include "storage/dead_letter_format.h"

#include <cstring>

#include "storage/base/bytes.h"
#include "storage/base/hash.h"

namespace weir::storage {
namespace {

constexpr uint64_t kVersion = 1;
enum : uint8_t { kHeader = 0, kContents = 1, kStatus = 2 };

uint64_t seed_of(const StoreId& store, uint64_t number) {
  const std::string_view bytes(reinterpret_cast<const char*>(store.bytes.data()),
                               store.bytes.size());
  return hash64(bytes) ^ number;
}

// A header is read before the store id is known, so it is sealed with the number alone.
void seal(std::string& payload, const StoreId* store, uint64_t number) {
  append_le(payload, checksum64(payload, store == nullptr ? number : seed_of(*store, number)));
}

void append_signed(std::string& out, int64_t value) {
  append_varint(out, (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
}
int64_t read_signed(ByteReader& in) {
  const uint64_t raw = in.varint();
  return static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
}

void read_letter(ByteReader& in, bool with_payload, DeadLetter* letter) {
  letter->lane = std::string(in.sized_bytes());
  letter->position.shard = static_cast<uint16_t>(in.varint());
  letter->position.number = in.varint();
  letter->tenant = std::string(in.sized_bytes());
  letter->event_id = std::string(in.sized_bytes());
  letter->event_name = std::string(in.sized_bytes());
  letter->received_ms = read_signed(in);
  letter->first_attempt_ms = read_signed(in);
  letter->failed_ms = read_signed(in);
  letter->attempts = static_cast<uint32_t>(in.varint());
  letter->status = static_cast<int>(read_signed(in));
  letter->reason = std::string(in.sized_bytes());
  letter->detail = std::string(in.sized_bytes());
  letter->requeued = in.le<uint8_t>() != 0;
  const std::string_view payload = in.sized_bytes();
  if (with_payload) letter->payload = std::string(payload);
}

bool is_waiting(DeadLetterStatus status) {
  return status == DeadLetterStatus::kRequeued || status == DeadLetterStatus::kRetried;
}

bool read_payload(ByteReader& in, bool with_payload, DeadLetterRecord* record) {
  switch (in.le<uint8_t>()) {
    case kHeader: {
      if (in.varint() != kVersion) return false;
      const std::string_view id = in.bytes(record->store_id.bytes.size());
      record->file_number = in.varint();
      if (in.ok()) std::memcpy(record->store_id.bytes.data(), id.data(), id.size());
      record->is_header = true;
      return in.ok() && record->number == 0;
    }
    case kContents:
      record->is_contents = true;
      record->letter_id = record->letter.id = in.varint();
      read_letter(in, with_payload, &record->letter);
      break;
    case kStatus: {
      record->letter_id = in.varint();
      const auto status = in.le<uint8_t>();
      if (status < 1 || status > 4) return false;
      record->status = static_cast<DeadLetterStatus>(status);
      if (is_waiting(record->status) && !in.at_end()) {
        record->progress.attempts = static_cast<uint32_t>(in.varint());
        record->progress.since_ms = read_signed(in);
      }
      break;
    }
    default:
      return false;
  }
  return in.ok() && record->letter_id > 0 && record->letter_id <= record->number;
}

}  // namespace

std::string dead_letter_key(uint64_t number) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
  return key;
}

std::string encode_dead_letter_header(const StoreId& store, uint64_t file_number) {
  std::string out(1, static_cast<char>(kHeader));
  append_varint(out, kVersion);
  out.append(reinterpret_cast<const char*>(store.bytes.data()), store.bytes.size());
  append_varint(out, file_number);
  seal(out, nullptr, 0);
  return out;
}

std::string encode_dead_letter(const StoreId& store, uint64_t number, const DeadLetter& letter) {
  std::string out(1, static_cast<char>(kContents));
  append_varint(out, letter.id);
  append_sized_bytes(out, letter.lane);
  append_varint(out, letter.position.shard);
  append_varint(out, letter.position.number);
  append_sized_bytes(out, letter.tenant);
  append_sized_bytes(out, letter.event_id);
  append_sized_bytes(out, letter.event_name);
  append_signed(out, letter.received_ms);
  append_signed(out, letter.first_attempt_ms);
  append_signed(out, letter.failed_ms);
  append_varint(out, letter.attempts);
  append_signed(out, letter.status);
  append_sized_bytes(out, letter.reason);
  append_sized_bytes(out, letter.detail);
  out.push_back(letter.requeued ? 1 : 0);
  append_sized_bytes(out, letter.payload);
  seal(out, &store, number);
  return out;
}

std::string encode_dead_letter_status(const StoreId& store, uint64_t number, uint64_t letter_id,
                                      DeadLetterStatus status, const RequeueProgress& progress) {
  std::string out(1, static_cast<char>(kStatus));
  append_varint(out, letter_id);
  out.push_back(static_cast<char>(status));
  if (is_waiting(status)) {
    append_varint(out, progress.attempts);
    append_signed(out, progress.since_ms);
  }
  seal(out, &store, number);
  return out;
}

std::optional<DeadLetterRecord> decode_dead_letter_record(const StoreId* store,
                                                          std::string_view key,
                                                          std::string_view value,
                                                          bool with_payload) {
  if (key.size() != 8 || value.size() < 8) return std::nullopt;
  DeadLetterRecord record;
  for (char c : key) record.number = record.number << 8 | static_cast<unsigned char>(c);
  const std::string_view payload = value.substr(0, value.size() - 8);
  if (record.number > 0 && store == nullptr) return std::nullopt;
  const uint64_t seed = record.number == 0 ? 0 : seed_of(*store, record.number);
  if (load_le<uint64_t>(value.data() + payload.size()) != checksum64(payload, seed))
    return std::nullopt;
  ByteReader in(payload);
  if (!read_payload(in, with_payload, &record)) return std::nullopt;
  if (record.number == 0 && !record.is_header) return std::nullopt;
  return record;
}

}  // namespace weir::storage
