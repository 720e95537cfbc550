#include "collector/admin/destinations.h"

#include "collector/admin/seek_body.h"
#include "collector/json_writer.h"
#include "storage/base/log.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {

using forwarder::SeekTarget;

Destinations::Destinations(storage::Store& store, const Clock& clock, std::function<void()> wake)
    : store_(store), clock_(clock), wake_(std::move(wake)) {}

// Why the place is no longer there, or nothing.
std::optional<std::string> Destinations::not_retained(const SeekTarget& from, uint16_t shard) {
  const uint64_t first = store_.shard_status(shard).first;
  if (first <= 1) return std::nullopt;  // nothing was ever deleted
  int64_t received_ms = 0;              // of the first event that is there; 0: there is none
  storage::ReadLimits limits;
  limits.max_events = 1;
  const auto read = store_.read(shard, first, limits, [&](const storage::StoredEvent& event) {
    received_ms = event.received_ms;
    return false;
  });
  if (!read) return read.error().message;
  const Position* at = from.position_in(shard);
  const bool before_time =
      from.kind == SeekTarget::Kind::kTime && received_ms != 0 && from.wall_ms < received_ms;
  if (!before_time && (at == nullptr || at->number >= first)) return std::nullopt;
  const std::string earliest = Position{shard, first}.text();
  return fmt::format(
      "events before {}{} are no longer on disk and cannot be replayed; it can begin at {} or at "
      "\"earliest\", or later (store.retention says how long events are kept)",
      earliest,
      received_ms == 0 ? "" : fmt::format(", received {},", format_rfc3339_ms(received_ms)),
      earliest);
}

Result<std::vector<storage::ReplayRange>> Destinations::ranges(const SeekTarget& from,
                                                               const SeekTarget& to) {
  for (const SeekTarget* target : {&from, &to})
    for (const Position& at : target->positions)
      if (at.shard >= store_.shards() || at.number == 0)
        return fail(ErrorCode::kInvalidArgument, "{} is no place: the store has shards 0 to {}",
                    at.text(), store_.shards() - 1);
  std::vector<storage::ReplayRange> ranges;
  for (uint16_t shard = 0; shard < store_.shards(); ++shard) {
    if (!from.names_shard(shard) || !to.names_shard(shard)) continue;
    WEIR_ASSIGN_OR_RETURN(const uint64_t first, forwarder::resolve_target(store_, from, shard));
    WEIR_ASSIGN_OR_RETURN(const uint64_t end, forwarder::resolve_target(store_, to, shard));
    if (first < end) ranges.push_back({shard, first, end - 1});
  }
  return ranges;
}

Reply Destinations::replay(std::string_view name, std::string_view body) {
  SeekTarget from;
  SeekTarget to;
  to.kind = SeekTarget::Kind::kLatest;
  bool has_from = false;
  bool has_to = false;
  if (const Status read =
          read_places(body, clock_.wall_ms(), {{"from", &from, &has_from}, {"to", &to, &has_to}});
      !read)
    return error_reply(read.error());
  if (!has_from) return error_reply(400, "invalid_argument", "\"from\" is missing");
  const auto lane = store_.lane(name);
  const std::string shown = terminal_text(name, 64);
  if (!lane || (lane->kind == storage::LaneKind::kDestination && lane->removed()))
    return error_reply(404, "not_found",
                       fmt::format("there is no destination {}; `weir status` lists them", shown));
  if (lane->kind == storage::LaneKind::kConsumer)
    return error_reply(
        400, "invalid_argument",
        fmt::format("{} is a pull consumer: `weir replay --consumer {}` replays it", shown, shown));
  auto wanted = ranges(from, to);
  if (!wanted) return error_reply(wanted.error());
  for (uint16_t shard = 0; shard < store_.shards(); ++shard)
    if (from.names_shard(shard) && to.names_shard(shard))
      if (const auto why = not_retained(from, shard)) return error_reply(409, "not_retained", *why);
  const auto replayed = store_.replay(name, *wanted);
  if (!replayed) return error_reply(replayed.error());
  wake_();
  log::info("destination_replays", {{"destination", name},
                                    {"events", replayed->events},
                                    {"failed_left_out", replayed->failed},
                                    {"pending_left_out", replayed->pending}});
  JsonWriter json;
  json.begin_object().field("replayed", replayed->events).field("failed", replayed->failed);
  json.field("pending", replayed->pending).end_object();
  return json_reply(json.take());
}

}  // namespace weir::admin
