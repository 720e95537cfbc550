#include "collector/admin/failed.h"

#include <algorithm>
#include <map>

#include "collector/admin/failed_text.h"
#include "collector/json_writer.h"
#include "storage/base/clock.h"
#include "storage/base/event_record.h"

namespace weir::admin {
namespace {

constexpr int64_t kApplyTimeoutNs = 15'000'000'000;

}  // namespace

FailedEvents::FailedEvents(storage::Store& store, EventEditor edit,
                           std::function<void()> wake_forwarder)
    : store_(store),
      edit_(std::move(edit)),
      wake_forwarder_(std::move(wake_forwarder)),
      client_(store.make_lane_client(wakeup_)) {}

FailedEvents::~FailedEvents() = default;

Reply FailedEvents::list(const storage::DeadLetterFilter& filter, bool text) {
  const auto letters = store_.dead_letters(filter);
  if (!letters) return error_reply(letters.error());
  if (text) return text_reply(letter_table(*letters));
  JsonWriter json;
  json.begin_object().key("failed").begin_array();
  for (const storage::DeadLetter& letter : *letters) write_letter(json, letter, false);
  json.end_array().key("next");
  if (letters->size() < filter.limit)
    json.null();
  else
    json.number(letters->back().id);
  json.end_object();
  return json_reply(json.take());
}

Reply FailedEvents::show(uint64_t id, bool text) {
  const auto letter = store_.dead_letter(id);
  if (!letter) return error_reply(letter.error());
  if (text) return text_reply(letter_text(*letter));
  JsonWriter json;
  write_letter(json, *letter, true);
  return json_reply(json.take());
}

Reply FailedEvents::export_page(storage::DeadLetterFilter filter, Export format) {
  filter.with_payload = true;
  const auto letters = store_.dead_letters(filter);
  if (!letters) return error_reply(letters.error());
  Reply reply;
  const bool csv = format == Export::kCsv;
  reply.content_type = csv ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson";
  if (csv) {
    reply.headers = "Content-Disposition: attachment; filename=\"failed-events.csv\"\r\n";
    if (filter.after_id == 0) reply.body = csv_header();
  }
  for (const storage::DeadLetter& letter : *letters)
    reply.body += csv ? csv_row(letter) : ndjson_line(letter, format == Export::kRaw);
  if (!letters->empty() && letters->size() >= filter.limit)
    reply.headers += fmt::format("Weir-Next: {}\r\n", letters->back().id);
  return reply;
}

Result<std::vector<GivenUp>> FailedEvents::given_up(const ExpiredFilter& filter) const {
  std::vector<GivenUp> rows;
  for (const storage::LaneState& lane : store_.lanes()) {
    if (!filter.lane.empty() && lane.name != filter.lane) continue;
    WEIR_ASSIGN_OR_RETURN(const auto ranges, store_.expired(lane.name));
    for (const storage::ExpiredRange& range : ranges) {
      if (!filter.reason.empty() && range.reason != filter.reason) continue;
      if (filter.shard && *filter.shard != range.shard) continue;
      if (filter.first && *filter.first != range.first) continue;
      const bool retained =
          range.shard < store_.shards() && range.first >= store_.shard_status(range.shard).first;
      rows.push_back({lane.name, range, retained});
    }
  }
  return rows;
}

Reply FailedEvents::expired(const ExpiredFilter& filter, bool text) {
  const auto rows = given_up(filter);
  if (!rows) return error_reply(rows.error());
  if (text) return text_reply(given_up_table(*rows));
  JsonWriter json;
  json.begin_object().key("expired").begin_array();
  for (const GivenUp& row : *rows) write_given_up(json, row);
  json.end_array().end_object();
  return json_reply(json.take());
}

// What is no longer on disk stays in the list, as not retained.
Reply FailedEvents::requeue_expired(const ExpiredFilter& filter) {
  const auto rows = given_up(filter);
  if (!rows) return error_reply(rows.error());
  std::map<std::string, std::vector<storage::ExpiredRange>> by_lane;
  uint64_t gone = 0;
  // "Give everything another try" does not mean what somebody threw away.
  const bool named = !filter.reason.empty() || filter.first;
  for (const GivenUp& row : *rows) {
    if (!named && row.range.reason == "discarded") continue;
    const auto lane = store_.lane(row.lane);
    if (lane && lane->kind == storage::LaneKind::kConsumer) {
      if (!filter.lane.empty())
        return error_reply(409, "consumer",
                           "a consumer goes back over what it gave up by a seek, not by a requeue");
      continue;
    }
    if (row.retained)
      by_lane[row.lane].push_back(row.range);
    else
      gone += row.range.events;
  }
  uint64_t events = 0;
  for (const auto& [lane, ranges] : by_lane) {
    const auto requeued = store_.requeue_expired(lane, ranges);
    if (!requeued) return error_reply(requeued.error());
    events += *requeued;
  }
  wake_forwarder_();
  return json_reply(fmt::format("{{\"requeued\":{},\"gone\":{}}}", events, gone));
}

Reply FailedEvents::requeue(uint64_t id) {
  Reply reply = change_one(id, Change::Kind::kRequeued, "requeued");
  if (reply.status == 200) wake_forwarder_();
  return reply;
}

Reply FailedEvents::discard(uint64_t id) {
  return change_one(id, Change::Kind::kDiscarded, "discarded");
}

Reply FailedEvents::requeue_all(storage::DeadLetterFilter filter) {
  Reply reply = change_all(std::move(filter), Change::Kind::kRequeued, "requeued");
  wake_forwarder_();
  return reply;
}

Reply FailedEvents::discard_all(storage::DeadLetterFilter filter) {
  return change_all(std::move(filter), Change::Kind::kDiscarded, "discarded");
}

Reply FailedEvents::edit(uint64_t id, std::string_view new_raw) {
  auto letter = store_.dead_letter(id);
  if (!letter) return error_reply(letter.error());
  if (letter->requeued)
    return error_reply(409, "requeued", "the event waits to be sent; edit it when it failed again");
  auto record = edit_(letter->payload, new_raw);
  if (!record) return error_reply(record.error());
  EventFields fields;
  if (decode_event_record(*record, &fields)) letter->event_name = fields.name;
  letter->payload = std::move(*record);
  const std::string lane = letter->lane;
  std::vector<Change> changes(1);
  changes[0].id = id;
  changes[0].kind = Change::Kind::kEdited;
  changes[0].replacement = std::move(*letter);
  const Status done = apply(lane, std::move(changes));
  if (!done) return error_reply(done.error());
  return json_reply(R"({"edited":1})");
}

Reply FailedEvents::change_one(uint64_t id, Change::Kind kind, std::string_view done) {
  const auto letter = store_.dead_letter(id);
  if (!letter) return error_reply(letter.error());
  std::vector<Change> changes(1);
  changes[0].id = id;
  changes[0].kind = kind;
  const Status outcome = apply(letter->lane, std::move(changes));
  if (!outcome) return error_reply(outcome.error());
  return json_reply(fmt::format("{{\"{}\":1}}", done));
}

Reply FailedEvents::change_all(storage::DeadLetterFilter filter, Change::Kind kind,
                               std::string_view done) {
  uint64_t changed = 0;
  filter.limit = kPage;
  for (;;) {
    const auto letters = store_.dead_letters(filter);
    if (!letters) return error_reply(letters.error());
    std::map<std::string, std::vector<Change>> by_lane;
    for (const storage::DeadLetter& letter : *letters) {
      filter.after_id = letter.id;
      if (kind == Change::Kind::kRequeued && letter.requeued) continue;
      Change change;
      change.id = letter.id;
      change.kind = kind;
      by_lane[letter.lane].push_back(std::move(change));
      ++changed;
    }
    for (auto& [lane, changes] : by_lane) {
      const Status outcome = apply(lane, std::move(changes));
      if (!outcome) return error_reply(outcome.error());
    }
    if (letters->size() < kPage) break;
  }
  return json_reply(fmt::format("{{\"{}\":{}}}", done, changed));
}

Status FailedEvents::apply(const std::string& lane, std::vector<Change> changes) {
  auto& update = lent_.emplace_back(std::make_unique<storage::LaneUpdate>());
  storage::LaneUpdate* const mine = update.get();
  mine->lane = lane;
  mine->dead_letter_changes = std::move(changes);
  client_->submit(*mine);
  const int64_t deadline = Clock::system().monotonic_ns() + kApplyTimeoutNs;
  for (;;) {
    Status outcome;
    bool done = false;
    for (storage::LaneUpdate* back = client_->take_outcomes(); back != nullptr;) {
      storage::LaneUpdate* const next = back->next;
      if (back == mine) {
        outcome = back->outcome;
        done = true;
      }
      std::erase_if(lent_, [&](const auto& owned) { return owned.get() == back; });
      back = next;
    }
    if (done) return outcome;
    const int64_t left = deadline - Clock::system().monotonic_ns();
    if (left <= 0)
      return fail(ErrorCode::kTimeout,
                  "the store did not answer within 15 s; whether the change was made is unknown, "
                  "look again");
    wakeup_.wait(left);
  }
}

}  // namespace weir::admin
