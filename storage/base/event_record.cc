#include "storage/base/event_record.h"

#include <array>
#include <cstring>
#include <functional>

namespace weir {
namespace {

constexpr uint8_t kReference = 0x80;
constexpr size_t kMinReference = 6;        // shorter texts take less room themselves
constexpr size_t kTextFieldOverhead = 21;  // a tag and two varints at most

char* put_varint(char* to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *to++ = static_cast<char>(value | 0x80);
  *to++ = static_cast<char>(value);
  return to;
}

// Most fields are a piece of the client's own text, which is stored anyway.
bool lies_in(std::string_view raw, std::string_view text) {
  const std::less_equal<const char*> at_or_before;
  return at_or_before(raw.data(), text.data()) &&
         at_or_before(text.data() + text.size(), raw.data() + raw.size());
}

char* put_text(char* to, uint8_t tag, std::string_view text, std::string_view raw) {
  if (text.empty()) return to;
  if (text.size() >= kMinReference && lies_in(raw, text)) {
    const auto offset = static_cast<uint64_t>(text.data() - raw.data());
    *to++ = static_cast<char>(tag | kReference);
    if (offset - 0x80 < 0x4000 - 0x80 && text.size() < 0x80) {  // two bytes and one: nearly all
      *to++ = static_cast<char>(offset | 0x80);
      *to++ = static_cast<char>(offset >> 7);
      *to++ = static_cast<char>(text.size());
      return to;
    }
    return put_varint(put_varint(to, offset), text.size());
  }
  *to++ = static_cast<char>(tag);
  to = put_varint(to, text.size());
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

size_t request_fields_bound(const EventFields& fields) {
  size_t size = 0;
#define WEIR_EVENT_BOUND(member, tag, name) \
  if constexpr (is_request_field(tag)) size += fields.member.size() + kTextFieldOverhead;
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_BOUND)
#undef WEIR_EVENT_BOUND
  return size;
}

size_t write_request_fields(char* out, const EventFields& fields) {
  char* to = out;
#define WEIR_EVENT_PUT(member, tag, name) \
  if constexpr (is_request_field(tag)) to = put_text(to, tag, fields.member, {});
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_PUT)
#undef WEIR_EVENT_PUT
  return static_cast<size_t>(to - out);
}

size_t event_head_bound(const EventFields& fields, std::string_view request_fields) {
  size_t size = 32 + request_fields.size();  // timestamp, priority, sandbox, encoding, end
#define WEIR_EVENT_BOUND(member, tag, name) \
  if constexpr (!is_request_field(tag)) size += fields.member.size() + kTextFieldOverhead;
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_BOUND)
#undef WEIR_EVENT_BOUND
  return size;
}

size_t write_event_head(char* out, const EventFields& fields, std::string_view request_fields) {
  char* to = out;
#define WEIR_EVENT_PUT(member, tag, name) \
  if constexpr (!is_request_field(tag)) to = put_text(to, tag, fields.member, fields.raw);
  WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_PUT)
#undef WEIR_EVENT_PUT
  if (!request_fields.empty()) std::memcpy(to, request_fields.data(), request_fields.size());
  to += request_fields.size();
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
  std::string shared(request_fields_bound(fields), '\0');
  shared.resize(write_request_fields(shared.data(), fields));
  const size_t before = out.size();
  out.resize(before + event_head_bound(fields, shared));
  out.resize(before + write_event_head(out.data() + before, fields, shared));
}

namespace {

// The member a text field's tag names, null for a tag of a newer version.
std::string_view* text_member(EventFields* fields, uint8_t tag) {
  switch (tag) {
#define WEIR_EVENT_FIND(member, number, name) \
  case number:                                \
    return &fields->member;
    WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_FIND)
#undef WEIR_EVENT_FIND
    default:
      return nullptr;
  }
}

// Where raw begins is known only at the end of the fields.
struct Reference {
  std::string_view* member = nullptr;
  uint64_t offset = 0;
  uint64_t size = 0;
};
#define WEIR_EVENT_COUNT(member, tag, name) +1
constexpr size_t kMaxReferences = 0 WEIR_EVENT_TEXT_FIELDS(WEIR_EVENT_COUNT);
#undef WEIR_EVENT_COUNT

struct References {
  std::array<Reference, kMaxReferences> rows;
  size_t size = 0;
};

// Up to the end of the fields; what refers to raw is collected.
bool read_head(ByteReader& reader, EventFields* fields, References* references) {
  for (;;) {
    const auto tag = reader.le<uint8_t>();
    if (tag == 0) return reader.ok();
    if ((tag & kReference) != 0) {
      const Reference reference{text_member(fields, tag & 0x7f), reader.varint(), reader.varint()};
      if (!reader.ok() || references->size == references->rows.size()) return false;
      if (reference.member != nullptr) references->rows[references->size++] = reference;
      continue;
    }
    const std::string_view bytes = reader.sized_bytes();
    if (!reader.ok()) return false;
    if (std::string_view* member = text_member(fields, tag); member != nullptr) {
      *member = bytes;
      continue;
    }
    switch (tag) {
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
}

bool resolve(const References& references, EventFields* fields) {
  for (size_t i = 0; i < references.size; ++i) {
    const Reference& reference = references.rows[i];
    if (reference.offset > fields->raw.size() ||
        reference.size > fields->raw.size() - reference.offset)
      return false;
    *reference.member = fields->raw.substr(reference.offset, reference.size);
  }
  return true;
}

}  // namespace

bool decode_event_record(std::string_view payload, EventFields* fields) {
  *fields = EventFields{};
  References references;
  ByteReader reader(payload);
  if (!read_head(reader, fields, &references)) return false;
  fields->raw = reader.rest();
  return resolve(references, fields);
}

bool decode_event_record(std::string_view head, std::string_view raw, EventFields* fields) {
  *fields = EventFields{};
  References references;
  ByteReader reader(head);
  if (!read_head(reader, fields, &references) || !reader.rest().empty()) return false;
  fields->raw = raw;
  return resolve(references, fields);
}

}  // namespace weir
