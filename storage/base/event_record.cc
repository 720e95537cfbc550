#include "storage/base/event_record.h"

#include <cstring>

namespace weir {
namespace {

char* put_text(char* to, uint8_t tag, std::string_view text) {
  if (text.empty()) return to;
  *to++ = static_cast<char>(tag);
  uint64_t size = text.size();
  for (; size >= 0x80; size >>= 7) *to++ = static_cast<char>(size | 0x80);
  *to++ = static_cast<char>(size);
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

char* put_byte(char* to, uint8_t tag, uint8_t value) {
  *to++ = static_cast<char>(tag);
  *to++ = 1;
  *to++ = static_cast<char>(value);
  return to;
}

}  // namespace

size_t event_head_bound(const EventFields& fields) {
  size_t size = 32;  // timestamp, priority, sandbox, encoding, end
#define WEIR_EVENT_BOUND(member, tag, name) size += fields.member.size() + 11;
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_BOUND)
#undef WEIR_EVENT_BOUND
  return size;
}

size_t write_event_head(char* out, const EventFields& fields) {
  char* to = out;
#define WEIR_EVENT_PUT(member, tag, name) to = put_text(to, tag, fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_PUT)
#undef WEIR_EVENT_PUT
  if (fields.timestamp_ms != 0) {
    *to++ = static_cast<char>(kTagTimestamp);
    *to++ = sizeof fields.timestamp_ms;
    store_le(to, fields.timestamp_ms);
    to += sizeof fields.timestamp_ms;
  }
  if (fields.priority != 1) to = put_byte(to, kTagPriority, fields.priority);
  if (fields.sandbox) {
    *to++ = static_cast<char>(kTagSandbox);
    *to++ = 0;
  }
  if (fields.raw_encoding != RawEncoding::kJson)
    to = put_byte(to, kTagRawEncoding, static_cast<uint8_t>(fields.raw_encoding));
  *to++ = 0;
  return static_cast<size_t>(to - out);
}

void append_event_head(std::string& out, const EventFields& fields) {
  const size_t before = out.size();
  out.resize(before + event_head_bound(fields));
  out.resize(before + write_event_head(out.data() + before, fields));
}

bool decode_event_record(std::string_view payload, EventFields* fields) {
  *fields = EventFields{};
  ByteReader reader(payload);
  for (;;) {
    const auto tag = reader.le<uint8_t>();
    if (tag == 0) break;
    const std::string_view bytes = reader.sized_bytes();
    if (!reader.ok()) return false;
    switch (tag) {
#define WEIR_EVENT_DECODE(member, number, name) \
  case number:                                  \
    fields->member = bytes;                     \
    break;
      WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_DECODE)
#undef WEIR_EVENT_DECODE
      case kTagTimestamp:
        if (bytes.size() != sizeof(int64_t)) return false;
        fields->timestamp_ms = load_le<int64_t>(bytes.data());
        break;
      case kTagPriority:
        if (bytes.size() != 1) return false;
        fields->priority = static_cast<uint8_t>(bytes[0]);
        break;
      case kTagSandbox:
        fields->sandbox = true;
        break;
      case kTagRawEncoding:
        if (bytes.size() != 1 || bytes[0] > 2) return false;
        fields->raw_encoding = static_cast<RawEncoding>(bytes[0]);
        break;
      default:
        break;  // written by a newer version
    }
  }
  fields->raw = reader.rest();
  return reader.ok();
}

}  // namespace weir
