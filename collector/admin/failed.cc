#include "collector/admin/failed.h"

#include <algorithm>
#include <map>

#include "collector/json_writer.h"
#include "storage/base/clock.h"
#include "storage/base/event_record.h"

namespace weir::admin {
namespace {

constexpr int64_t kApplyTimeoutNs = 15'000'000'000;

void write_event(JsonWriter& json, std::string_view payload) {
  EventFields fields;
  if (!decode_event_record(payload, &fields)) {
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
  json.key("raw");
  if (fields.raw_encoding == RawEncoding::kJson)
    json.raw(fields.raw);
  else
    json.string(fields.raw);
  json.end_object();
}

void write_letter(JsonWriter& json, const storage::DeadLetter& letter, bool with_event) {
  json.begin_object().field("id", letter.id).field("destination", letter.lane);
  json.field("seq", letter.position.text()).field("tenant", letter.tenant);
  json.field("event_id", letter.event_id).field("name", letter.event_name);
  json.field("received_at", format_rfc3339_ms(letter.received_ms));
  json.field("first_attempt_at", format_rfc3339_ms(letter.first_attempt_ms));
  json.field("failed_at", format_rfc3339_ms(letter.failed_ms));
  json.field("attempts", letter.attempts).field("status", letter.status);
  json.field("reason", letter.reason).field("detail", letter.detail);
  json.field("requeued", letter.requeued);
  if (with_event) write_event(json, letter.payload);
  json.end_object();
}

// Text that came from clients or destinations must not move a terminal's cursor.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return out;
}

std::string list_text(const std::vector<storage::DeadLetter>& letters) {
  if (letters.empty()) return "no failed events\n";
  std::string out =
      fmt::format("{:>8} {:<16} {:<24} {:<20} {:>6} {:<14} {:>8}  {}\n", "id", "destination",
                  "failed at", "name", "status", "reason", "attempts", "event id");
  for (const storage::DeadLetter& letter : letters)
    out += fmt::format("{:>8} {:<16} {:<24} {:<20} {:>6} {:<14} {:>8}  {}{}\n", letter.id,
                       letter.lane, format_rfc3339_ms(letter.failed_ms),
                       printable(letter.event_name), letter.status, letter.reason, letter.attempts,
                       printable(letter.event_id), letter.requeued ? "  (requeued)" : "");
  return out;
}

std::string letter_text(const storage::DeadLetter& letter) {
  std::string out;
  const auto line = [&](std::string_view name, std::string_view value) {
    out += fmt::format("{:<14} {}\n", name, printable(value));
  };
  line("id", std::to_string(letter.id));
  line("destination", letter.lane);
  line("event id", letter.event_id);
  line("name", letter.event_name);
  line("tenant", letter.tenant);
  line("position", letter.position.text());
  line("received", format_rfc3339_ms(letter.received_ms));
  line("first attempt", format_rfc3339_ms(letter.first_attempt_ms));
  line("failed", format_rfc3339_ms(letter.failed_ms));
  line("attempts", std::to_string(letter.attempts));
  line("status", letter.status == 0 ? "no answer" : std::to_string(letter.status));
  line("reason", letter.reason);
  line("detail", letter.detail);
  if (letter.requeued) line("requeued", "waiting to be sent again");
  EventFields fields;
  if (decode_event_record(letter.payload, &fields)) line("event", fields.raw);
  return out;
}

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
  if (text) return text_reply(list_text(*letters));
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

Reply FailedEvents::export_page(storage::DeadLetterFilter filter, bool raw) {
  filter.with_payload = true;
  const auto letters = store_.dead_letters(filter);
  if (!letters) return error_reply(letters.error());
  Reply reply;
  reply.content_type = "application/x-ndjson";
  for (const storage::DeadLetter& letter : *letters) {
    EventFields fields;
    JsonWriter json;
    if (!raw) {
      write_letter(json, letter, true);
    } else if (!decode_event_record(letter.payload, &fields)) {
      continue;
    } else if (fields.raw_encoding == RawEncoding::kJson) {
      json.raw(fields.raw);
    } else {
      json.string(fields.raw);
    }
    std::string line = json.take();
    // A client may have sent its object on several lines; outside of strings a line break is white
    // space, and inside of strings JSON has none.
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::replace(line.begin(), line.end(), '\r', ' ');
    reply.body += line;
    reply.body.push_back('\n');
  }
  if (!letters->empty() && letters->size() >= filter.limit)
    reply.headers = fmt::format("Weir-Next: {}\r\n", letters->back().id);
  return reply;
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
