#include "collector/event_editor.h"

#include "collector/event/arena.h"
#include "collector/event/body_reader.h"
#include "collector/event/event_parser.h"
#include "collector/protocols/canonical.h"
#include "storage/base/event_record.h"

namespace weir {

Result<std::string> edit_event_record(std::string_view old_record, std::string_view new_raw) {
  EventFields fields;
  if (!decode_event_record(old_record, &fields))
    return fail(ErrorCode::kCorrupt, "the stored record of this event cannot be read");
  if (fields.raw_encoding != RawEncoding::kJson)
    return fail(ErrorCode::kInvalidArgument,
                "this event is not a JSON object and cannot be edited; discard it or requeue it");
  event::EventParser parser;
  const std::string text(new_raw);
  if (!parser.parse_object(text)) {
    const event::SyntaxError error = parser.error();
    return fail(ErrorCode::kInvalidArgument, "not one JSON object: {} at byte {}", error.reason,
                error.offset);
  }
  event::Arena arena;
  const event::BodyReader reader(parser, event::Limits{});
  const protocols::RequestHead head;
  const protocols::EventInput input{head, reader, &parser, 0, {}, arena};
  EventFields found;
  protocols::read_canonical(input, found);
  // What the edited object names counts; the rest was found around the event (in its batch, in the
  // request) and stays. The id stays in any case: receivers know the event by it.
  const auto take = [](std::string_view& to, std::string_view from) {
    if (!from.empty()) to = from;
  };
  take(fields.name, found.name);
  take(fields.session_id, found.session_id);
  take(fields.user_id, found.user_id);
  take(fields.anonymous_id, found.anonymous_id);
  take(fields.shop_id, found.shop_id);
  take(fields.location_id, found.location_id);
  take(fields.url, found.url);
  take(fields.referrer, found.referrer);
  take(fields.campaign_id, found.campaign_id);
  take(fields.tracking_id, found.tracking_id);
  take(fields.variant, found.variant);
  if (found.timestamp_ms != 0) fields.timestamp_ms = found.timestamp_ms;
  fields.raw = text;
  std::string record;
  append_event_head(record, fields);
  record += text;
  return record;
}

}  // namespace weir
