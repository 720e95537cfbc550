// Decoding an event record: any bytes are either refused or decoded into views that lie inside
// them, and what was decoded encodes back to a record that decodes to the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/base/event_record.h"

namespace {

void check_inside(std::string_view whole, std::string_view part) {
  if (part.empty()) return;
  WEIR_CHECK(part.data() >= whole.data());
  WEIR_CHECK(part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  weir::EventFields fields;
  if (!weir::decode_event_record(bytes, &fields)) return 0;
  check_inside(bytes, fields.raw);
#define WEIR_CHECK_MEMBER(member, tag, name) check_inside(bytes, fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_CHECK_MEMBER)
#undef WEIR_CHECK_MEMBER

  std::string again;
  weir::append_event_head(again, fields);
  again.append(fields.raw);
  weir::EventFields second;
  WEIR_CHECK(weir::decode_event_record(again, &second));
  WEIR_CHECK(second.raw == fields.raw);
#define WEIR_CHECK_MEMBER(member, tag, name) WEIR_CHECK(second.member == fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_CHECK_MEMBER)
#undef WEIR_CHECK_MEMBER
  WEIR_CHECK(second.timestamp_ms == fields.timestamp_ms && second.priority == fields.priority);
  WEIR_CHECK(second.sandbox == fields.sandbox && second.raw_encoding == fields.raw_encoding);
  return 0;
}
