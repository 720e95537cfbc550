#include "collector/admin/event_json.h"

#include "storage/base/clock.h"
#include "storage/base/event_record.h"

namespace weir::admin {

void write_event(JsonWriter& json, std::string_view record) {
  EventFields fields;
  if (!decode_event_record(record, &fields)) {
    json.key("event").null();
    return;
  }
  json.key("event").begin_object();
#define WEIR_WRITE_FIELD(member, tag, name)                           \
  if (!fields.member.empty() && std::string_view(name) != "envelope") \
    json.field(name, fields.member);
  WEIR_EVENT_TEXT_FIELDS(WEIR_WRITE_FIELD)
#undef WEIR_WRITE_FIELD
  if (!fields.envelope.empty()) json.key("envelope").raw(fields.envelope);
  if (fields.timestamp_ms != 0) json.field("timestamp", format_rfc3339_ms(fields.timestamp_ms));
  static constexpr const char* kPriorities[] = {"low", "normal", "high"};
  if (fields.priority < 3) json.field("priority", kPriorities[fields.priority]);
  if (fields.sandbox) json.field("sandbox", true);
  json.key("raw");
  if (fields.raw_encoding == RawEncoding::kJson)
    json.raw(fields.raw);
  else
    json.string(fields.raw);
  json.end_object();
}

}  // namespace weir::admin
