// The canonical event as it is stored: what the pipeline writes, what forwarder, views and tools
// read. Storage proper never looks inside; it keeps these bytes behind its own header and checksum.
//
//   payload := field* end raw
//   field   := tag:u8 (1..127) length:varint bytes
//            | tag + 128:u8 offset:varint length:varint     a text field that is a piece of raw
//   end     := 0:u8
//   raw     := every remaining byte: the client's own event object, unchanged
//
// A field that is absent is not written. Tags are persisted: never renumber, only add. Readers skip
// unknown tags.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/bytes.h"

namespace weir {

enum class RawEncoding : uint8_t {
  kJson = 0,    // raw is a JSON object, to be embedded as it is
  kText = 1,    // query string or form: a string for the receiver
  kBase64 = 2,  // binary input (protobuf), already base64 text
};

// clang-format off
// X(member, tag, "name at the destination")
#define WEIR_EVENT_TEXT_FIELDS(X)            \
  X(id, 1, "id")                             \
  X(name, 2, "name")                         \
  X(source, 3, "source")                     \
  X(tenant, 4, "tenant")                     \
  X(session_id, 5, "session_id")             \
  X(user_id, 6, "user_id")                   \
  X(anonymous_id, 7, "anonymous_id")         \
  X(shop_id, 8, "shop_id")                   \
  X(location_id, 9, "location_id")           \
  X(url, 10, "url")                          \
  X(referrer, 11, "referrer")                \
  X(campaign_id, 12, "campaign_id")          \
  X(tracking_id, 13, "tracking_id")          \
  X(variant, 14, "variant")                  \
  X(ip, 15, "ip")                            \
  X(user_agent, 16, "user_agent")            \
  X(envelope, 17, "envelope")                \
  X(key_name, 18, "key")
// clang-format on

// Views into the buffer they were decoded from (or that the parser filled). LIFETIME: the buffer's.
// Text fields hold decoded UTF-8 (JSON escapes resolved), except envelope, which is JSON text.
struct EventFields {
#define WEIR_EVENT_MEMBER(member, tag, name) std::string_view member;
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_MEMBER)
#undef WEIR_EVENT_MEMBER
  int64_t timestamp_ms = 0;  // the event's own time; 0: the client sent none
  uint8_t priority = 1;      // 0 low, 1 normal, 2 high
  bool sandbox = false;      // stored and shown, never forwarded
  RawEncoding raw_encoding = RawEncoding::kJson;
  std::string_view raw;
};

// Whether a text field is the same for all events of a request. A new tag is not, until it is named
// here.
constexpr bool is_request_field(uint8_t tag) {
  return tag == 3 || tag == 4 ||    // source, tenant
         (tag >= 15 && tag <= 18);  // ip, user_agent, envelope, key_name
}

constexpr uint8_t kTagTimestamp = 64;    // i64 little endian
constexpr uint8_t kTagPriority = 65;     // u8; absent: 1
constexpr uint8_t kTagSandbox = 66;      // empty
constexpr uint8_t kTagRawEncoding = 67;  // u8; absent: kJson

// Appends field* end. The raw bytes follow wherever the caller keeps them: the store writes both
// pieces behind one another.
void append_event_head(std::string& out, const EventFields& fields);

// The same in two steps, into memory of the caller's. Source, tenant, key, envelope and what is
// known of the client are the same for all events of a request: their fields are written once, and
// copied into each event's head. Each returns how many bytes it wrote, at most so many as its
// bound.
size_t request_fields_bound(const EventFields& fields);
size_t write_request_fields(char* out, const EventFields& fields);
size_t event_head_bound(const EventFields& fields, std::string_view request_fields);
size_t write_event_head(char* out, const EventFields& fields, std::string_view request_fields);

// False when the bytes do not follow the grammar; *fields is then unspecified.
bool decode_event_record(std::string_view payload, EventFields* fields);
// The same of a record whose head and raw are still apart. LIFETIME of the views: both.
bool decode_event_record(std::string_view head, std::string_view raw, EventFields* fields);

}  // namespace weir
