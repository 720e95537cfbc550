#include "collector/admin/ledger.h"

#include <algorithm>

#include "collector/admin/event_json.h"
#include "collector/admin/human_text.h"
#include "forwarder/leases.h"
#include "storage/base/event_record.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {
namespace {

// Rows of one position: the last one counts, and one of a requeued dead letter (number 0) before
// those of the batches it was in earlier.
bool earlier(const storage::DeliveryRow& a, const storage::DeliveryRow& b) {
  if ((a.batch_number == 0) != (b.batch_number == 0)) return b.batch_number == 0;
  return a.finished_ms < b.finished_ms;
}

}  // namespace

// ---- where it is

std::optional<Position> Ledger::position_of(std::string_view id) const {
  const std::string prefix = store_.id().text() + "-";
  if (id.starts_with(prefix)) id.remove_prefix(prefix.size());
  const auto position = Position::parse(id);
  if (!position || position->number == 0 || position->shard >= store_.shards() ||
      position->number >= store_.committed_end(position->shard))
    return std::nullopt;
  return *position;
}

Result<std::vector<Position>> Ledger::find(const std::string& id, const std::string& tenant) {
  std::vector<std::string> tenants{tenant};
  if (tenant.empty()) {
    tenants.clear();
    for (const auto& [name, totals] : store_.totals().tenants)
      if (tenants.size() < kMaxTenants) tenants.push_back(name);
  }
  std::vector<Position> found;
  for (const std::string& name : tenants) {
    WEIR_ASSIGN_OR_RETURN(const auto position, store_.find(name, id));
    if (position) found.push_back(*position);
  }
  if (!found.empty()) return found;
  if (const auto position = position_of(id)) return std::vector<Position>{*position};
  // Its segment may be gone while a failed copy is kept.
  storage::DeadLetterFilter filter;
  filter.event_id = id;
  filter.tenant = tenant;
  WEIR_ASSIGN_OR_RETURN(const auto letters, store_.dead_letters(filter));
  for (const storage::DeadLetter& letter : letters)
    if (std::find(found.begin(), found.end(), letter.position) == found.end())
      found.push_back(letter.position);
  return found;
}

// ---- what became of it

Result<Ledger::History> Ledger::history(Position position) {
  History event;
  event.position = position;
  event.id = store_.id().text() + "-" + position.text();
  storage::ReadLimits limits;
  limits.last = position.number;
  limits.max_events = 1;
  WEIR_RETURN_IF_ERROR(
      store_.read(position.shard, position.number, limits, [&](const storage::StoredEvent& stored) {
        event.received_ms = stored.received_ms;
        event.record = stored.payload;
        return false;
      }));
  EventFields fields;
  if (!event.record.empty() && decode_event_record(event.record, &fields)) {
    if (!fields.id.empty()) event.id = fields.id;
    event.tenant = fields.tenant;
    event.name = fields.name;
  }
  if (auto place = store_.place(position)) event.place = std::move(*place);

  storage::DeadLetterFilter filter;
  if (!event.record.empty()) filter.event_id = event.id;
  std::vector<storage::DeadLetter> letters;
  for (bool more = true; more;) {
    WEIR_ASSIGN_OR_RETURN(const auto page, store_.dead_letters(filter));
    for (const storage::DeadLetter& letter : page) {
      filter.after_id = letter.id;
      if (letter.position == position) letters.push_back(letter);
    }
    more = page.size() >= filter.limit;
  }
  if (event.record.empty() && !letters.empty()) {
    WEIR_ASSIGN_OR_RETURN(const auto copy, store_.dead_letter(letters.front().id));
    event.id = copy.event_id;
    event.tenant = copy.tenant;
    event.name = copy.event_name;
    event.received_ms = copy.received_ms;
    event.record = copy.payload;
  }
  for (const storage::LaneState& lane : store_.lanes()) {
    if (position.shard >= lane.shards.size()) continue;
    const uint64_t ended = lane.shards[position.shard].ended;
    if (ended != 0 && position.number >= ended) continue;  // removed before the event came
    WEIR_ASSIGN_OR_RETURN(auto fate_of_lane, fate(lane, event, letters));
    event.fates.push_back(std::move(fate_of_lane));
  }
  return event;
}

void Ledger::tell_range(const storage::OpenRange& range, Fate* fate) {
  fate->attempts = range.attempts;
  fate->last_error = range.last_error;
  if (range.requeued()) {
    fate->state = "pending";
    fate->reason = "requeued";
    return;
  }
  fate->until_ms = range.not_before_ms;
  switch (range.state) {
    case storage::RangeState::kInFlight:
      fate->state = "in_flight";
      break;
    case storage::RangeState::kLeased:
      fate->state = "leased";
      fate->owner = forwarder::holder_of(range.owner);
      break;
    case storage::RangeState::kDelayed:
      fate->state = "delayed";
      break;
  }
}

// Below the frontier and in nothing that is open, failed or given up: sent, if anybody wanted it.
Status Ledger::tell_finished(const History& event, Fate* fate) {
  WEIR_ASSIGN_OR_RETURN(const auto rows, store_.deliveries(fate->lane, event.position));
  fate->state = "sent";
  const auto row = std::max_element(rows.begin(), rows.end(), earlier);
  if (row == rows.end()) {
    fate->reason = "its delivery row is no longer kept";
    return {};
  }
  fate->attempts = row->attempts;
  fate->status = row->status;
  fate->finished_ms = row->finished_ms;
  if (row->batch_number == 0)
    fate->reason = "requeued after it had failed";
  else
    fate->batch_id = store_.batch_id(row->batch_number);
  return {};
}

Result<Ledger::Fate> Ledger::fate(const storage::LaneState& lane, const History& event,
                                  const std::vector<storage::DeadLetter>& letters) {
  Fate fate;
  fate.lane = lane.name;
  fate.kind = lane.kind;
  const storage::LaneShard& shard = lane.shards[event.position.shard];
  const uint64_t number = event.position.number;
  for (const storage::DeadLetter& letter : letters) {
    if (letter.lane != lane.name) continue;
    fate.state = letter.requeued ? "pending" : "failed";
    fate.reason = letter.requeued ? "requeued" : letter.reason;
    fate.attempts = letter.attempts + letter.requeue_attempts;
    fate.status = letter.status;
    fate.last_error = letter.detail;
    fate.finished_ms = letter.requeued ? 0 : letter.failed_ms;
    fate.failed_id = letter.id;
    return fate;
  }
  if (number < shard.start) {
    fate.state = "skipped";
    fate.reason = "the lane began later";
    return fate;
  }
  forwarder::Forwarder* forwarder = forwarder_.load(std::memory_order_acquire);
  if (lane.kind == storage::LaneKind::kDestination && forwarder != nullptr &&
      number < shard.frontier && forwarder->wants(lane.name, event.record) == false) {
    fate.state = "skipped";
    fate.reason = "its filter leaves it out, or it is a sandbox event";
    return fate;
  }
  for (const auto& [batch, range] : shard.open) {
    if (number < range.first || number > range.last) continue;
    tell_range(range, &fate);
    if (!range.requeued()) fate.batch_id = store_.batch_id(batch);
    return fate;
  }
  WEIR_ASSIGN_OR_RETURN(const auto expired, store_.expired(lane.name));
  for (const storage::ExpiredRange& range : expired) {
    if (range.shard != event.position.shard || number < range.first || number > range.last)
      continue;
    fate.state = "expired";
    fate.reason = range.reason;
    fate.finished_ms = range.at_ms;
    return fate;
  }
  if (number >= shard.frontier) {
    fate.state = "pending";
    if (lane.removed()) fate.reason = "the destination is no longer configured";
    return fate;
  }
  WEIR_RETURN_IF_ERROR(tell_finished(event, &fate));
  return fate;
}

// ---- telling it

std::string Ledger::json(const std::vector<History>& events) const {
  JsonWriter json;
  json.begin_object().key("events").begin_array();
  for (const History& event : events) {
    json.begin_object().field("id", event.id).field("seq", event.position.text());
    json.field("store_id", store_.id().text()).field("tenant", event.tenant);
    json.field("name", event.name);
    json.time_field("received_at", event.received_ms);
    json.time_field("committed_at", event.place ? event.place->committed_ms : 0);
    json.key("segment");
    if (event.place) {
      json.begin_object().field("file", event.place->file).field("first", event.place->first);
      json.field("last", event.place->last).field("sealed", event.place->sealed).end_object();
    } else {
      json.null();
    }
    for (const auto kind : {storage::LaneKind::kDestination, storage::LaneKind::kConsumer}) {
      json.key(kind == storage::LaneKind::kDestination ? "destinations" : "consumers");
      json.begin_object();
      for (const Fate& fate : event.fates) {
        if (fate.kind != kind) continue;
        json.key(fate.lane).begin_object().field("state", fate.state);
        json.field("reason", fate.reason).field("attempts", fate.attempts);
        json.field("batch_id", fate.batch_id).field("status", fate.status);
        json.field("last_error", fate.last_error);
        json.time_field("finished_at", fate.finished_ms);
        if (fate.state == "leased") {
          json.field("leased_by", fate.owner);
          json.time_field("lease_expires_at", fate.until_ms);
        } else {
          json.time_field("next_attempt_at", fate.until_ms);
        }
        if (fate.failed_id != 0) json.field("failed_id", fate.failed_id);
        json.end_object();
      }
      json.end_object();
    }
    write_event(json, event.record);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string Ledger::text(const std::vector<History>& events) {
  std::string out;
  const auto line = [&](std::string_view name, std::string_view value) {
    out += fmt::format("{:<14} {}\n", name, terminal_text(value));
  };
  const auto time = [](int64_t ms) { return ms == 0 ? "unknown" : format_rfc3339_ms(ms); };
  for (const History& event : events) {
    if (!out.empty()) out += "\n";
    line("event id", event.id);
    line("position", event.position.text());
    line("tenant", event.tenant);
    line("name", event.name);
    line("received", time(event.received_ms));
    if (event.place) {
      line("committed", time(event.place->committed_ms));
      line("segment", fmt::format("{} ({}, {} to {})", event.place->file,
                                  event.place->sealed ? "sealed" : "active", event.place->first,
                                  event.place->last));
    } else {
      line("segment", "deleted; only what failed is kept");
    }
    if (event.fates.empty()) line("destinations", "none: it waits");
    for (const Fate& fate : event.fates) {
      std::string told = fmt::format("{}", fate.state);
      if (!fate.reason.empty()) told += fmt::format(": {}", fate.reason);
      if (fate.attempts > 0) told += ", " + human_count(fate.attempts, "attempt");
      if (fate.status != 0) told += fmt::format(", status {}", fate.status);
      if (fate.finished_ms != 0) told += fmt::format(", at {}", time(fate.finished_ms));
      if (!fate.owner.empty()) told += fmt::format(", by {}", fate.owner);
      if (fate.until_ms != 0) told += fmt::format(", until {}", time(fate.until_ms));
      if (!fate.batch_id.empty()) told += fmt::format(", batch {}", fate.batch_id);
      if (fate.failed_id != 0) told += fmt::format(", failed event {}", fate.failed_id);
      line(fate.lane, told);
      if (!fate.last_error.empty()) line("", fate.last_error);
    }
    EventFields fields;
    if (decode_event_record(event.record, &fields)) line("event", fields.raw);
  }
  return out;
}

Reply Ledger::answer(const std::string& id, const std::string& tenant, bool text) {
  const auto positions = find(id, tenant);
  if (!positions) return error_reply(positions.error());
  std::vector<History> events;
  for (const Position position : *positions) {
    auto event = history(position);
    if (!event) return error_reply(event.error());
    // A number of which nothing is left: a gap.
    if (!event->record.empty()) events.push_back(std::move(*event));
  }
  if (events.empty())
    return error_reply(404, "not_found",
                       "no event of this id is on disk or among the failed ones; it may never have "
                       "come, be older than the retention, or belong to another tenant");
  return text ? text_reply(Ledger::text(events)) : json_reply(json(events));
}

}  // namespace weir::admin
