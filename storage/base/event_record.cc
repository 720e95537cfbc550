#include "storage/base/event_record.h"

namespace weir {
namespace {

void append_text(std::string& out, uint8_t tag, std::string_view text) {
  if (text.empty()) return;
  out.push_back(static_cast<char>(tag));
  append_sized_bytes(out, text);
}

void append_byte(std::string& out, uint8_t tag, uint8_t value) {
  out.push_back(static_cast<char>(tag));
  out.push_back(1);
  out.push_back(static_cast<char>(value));
}

}  // namespace

void append_event_head(std::string& out, const EventFields& fields) {
#define WEIR_EVENT_APPEND(member, tag, name) append_text(out, tag, fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_APPEND)
#undef WEIR_EVENT_APPEND
  if (fields.timestamp_ms != 0) {
    out.push_back(static_cast<char>(kTagTimestamp));
    out.push_back(sizeof fields.timestamp_ms);
    append_le(out, fields.timestamp_ms);
  }
  if (fields.priority != 1) append_byte(out, kTagPriority, fields.priority);
  if (fields.sandbox) {
    out.push_back(static_cast<char>(kTagSandbox));
    out.push_back(0);
  }
  if (fields.raw_encoding != RawEncoding::kJson)
    append_byte(out, kTagRawEncoding, static_cast<uint8_t>(fields.raw_encoding));
  out.push_back(0);
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
