#include "collector/admin/seek_body.h"

#include "collector/admin/consumer_json.h"
#include "collector/admin/query_time.h"
#include "collector/event/json_value.h"

namespace weir::admin {
namespace {

Result<forwarder::SeekTarget> read_place(const event::JsonValue& value, int64_t now_ms) {
  auto place = read_seek_target(value);
  if (place) return place;
  const auto moment = parse_moment(value.string().value_or(""), now_ms);
  if (!moment) return place;
  forwarder::SeekTarget then;
  then.kind = forwarder::SeekTarget::Kind::kTime;
  then.wall_ms = *moment;
  return then;
}

}  // namespace

Status read_places(std::string_view body, int64_t now_ms,
                   std::initializer_list<PlaceMember> members) {
  WEIR_ASSIGN_OR_RETURN(const event::JsonValue object, event::JsonValue::check(body));
  if (!object.is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be an object");
  Status status;
  object.each_member([&](std::string_view name, event::JsonValue value) {
    for (const PlaceMember& member : members) {
      if (member.name != name) continue;
      auto place = read_place(value, now_ms);
      if (place)
        *member.place = std::move(*place);
      else
        status = tl::unexpected(std::move(place).error());
      *member.found = true;
    }
    return status.has_value();
  });
  return status;
}

}  // namespace weir::admin
