#include "collector/admin/failed_text.h"

#include <algorithm>

#include "collector/admin/event_json.h"
#include "storage/base/clock.h"
#include "storage/base/event_record.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {
namespace {

std::string status_text(int status) { return status == 0 ? "no answer" : std::to_string(status); }

// What a spreadsheet may take for a formula (OWASP, "CSV Injection"), full-width signs included.
bool may_be_formula(std::string_view text) {
  if (text.empty()) return false;
  if (std::string_view("=+-@\t\r\n").find(text.front()) != std::string_view::npos) return true;
  for (const std::string_view sign : {"＝", "＋", "－", "＠"})
    if (text.starts_with(sign)) return true;
  return false;
}

// A client may have sent its object on several lines; outside of strings a line break is white
// space, and inside of strings JSON has none.
std::string on_one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::replace(text.begin(), text.end(), '\r', ' ');
  return text;
}

}  // namespace

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
  if (letter.requeued) {
    json.time_field("requeued_at", letter.requeued_ms);
    json.field("attempts_since", letter.requeue_attempts);
  }
  if (with_event) write_event(json, letter.payload);
  json.end_object();
}

std::string letter_table(const std::vector<storage::DeadLetter>& letters) {
  if (letters.empty()) return "no failed events\n";
  std::string out =
      fmt::format("{:>8} {:<16} {:<24} {:<20} {:>6} {:<14} {:>8}  {}\n", "id", "destination",
                  "failed at", "name", "status", "reason", "attempts", "event id");
  for (const storage::DeadLetter& letter : letters)
    out +=
        fmt::format("{:>8} {:<16} {:<24} {:<20} {:>6} {:<14} {:>8}  {}{}\n", letter.id, letter.lane,
                    format_rfc3339_ms(letter.failed_ms), terminal_text(letter.event_name, 20),
                    letter.status, letter.reason, letter.attempts, terminal_text(letter.event_id),
                    letter.requeued ? "  (requeued)" : "");
  return out;
}

std::string letter_text(const storage::DeadLetter& letter) {
  std::string out;
  const auto line = [&](std::string_view name, std::string_view value) {
    out += fmt::format("{:<14} {}\n", name, terminal_text(value));
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
  line("status", status_text(letter.status));
  line("reason", letter.reason);
  line("detail", letter.detail);
  if (letter.requeued)
    line("requeued",
         fmt::format("waiting to be sent again, tried {} times since", letter.requeue_attempts));
  EventFields fields;
  if (decode_event_record(letter.payload, &fields)) line("event", fields.raw);
  return out;
}

std::string csv_cell(std::string_view text) {
  std::string out = "\"";
  if (may_be_formula(text)) out.push_back('\'');
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
  return out;
}

std::string csv_header() {
  return "id,destination,seq,tenant,event_id,name,received_at,first_attempt_at,failed_at,attempts,"
         "status,reason,detail,requeued,event\r\n";
}

std::string csv_row(const storage::DeadLetter& letter) {
  EventFields fields;
  const bool decoded = decode_event_record(letter.payload, &fields);
  return fmt::format(
      "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", letter.id, csv_cell(letter.lane),
      letter.position.text(), csv_cell(letter.tenant), csv_cell(letter.event_id),
      csv_cell(letter.event_name), format_rfc3339_ms(letter.received_ms),
      format_rfc3339_ms(letter.first_attempt_ms), format_rfc3339_ms(letter.failed_ms),
      letter.attempts, letter.status, csv_cell(letter.reason), csv_cell(letter.detail),
      letter.requeued, csv_cell(decoded ? on_one_line(std::string(fields.raw)) : ""));
}

std::string ndjson_line(const storage::DeadLetter& letter, bool raw_only) {
  JsonWriter json;
  if (!raw_only) {
    write_letter(json, letter, true);
    return on_one_line(json.take()) + "\n";
  }
  EventFields fields;
  if (!decode_event_record(letter.payload, &fields)) return {};
  if (fields.raw_encoding == RawEncoding::kJson)
    json.raw(fields.raw);
  else
    json.string(fields.raw);
  return on_one_line(json.take()) + "\n";
}

void write_given_up(JsonWriter& json, const GivenUp& row) {
  json.begin_object().field("destination", row.lane).field("shard", row.range.shard);
  json.field("first", row.range.first).field("last", row.range.last);
  json.field("events", row.range.events).field("reason", row.range.reason);
  json.time_field("at", row.range.at_ms);
  json.field("retained", row.retained).end_object();
}

std::string given_up_table(const std::vector<GivenUp>& rows) {
  if (rows.empty()) return "no expired ranges\n";
  std::string out =
      fmt::format("{:<16} {:>5} {:>14} {:>14} {:>12} {:<20} {:<24}  {}\n", "destination", "shard",
                  "first", "last", "events", "reason", "at", "on disk");
  for (const GivenUp& row : rows)
    out += fmt::format("{:<16} {:>5} {:>14} {:>14} {:>12} {:<20} {:<24}  {}\n", row.lane,
                       row.range.shard, row.range.first, row.range.last, row.range.events,
                       row.range.reason, format_rfc3339_ms(row.range.at_ms),
                       row.retained ? "yes" : "no");
  return out;
}

}  // namespace weir::admin
