// Failed events and expired ranges as JSON, as text for a terminal, and as CSV.
// Thread: any; no state.
//
// Everything that clients and destinations wrote is hostile: text goes through terminal_text(), a
// CSV cell that a spreadsheet would take for a formula gets an apostrophe in front.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "collector/json_writer.h"
#include "storage/store.h"

namespace weir::admin {

void write_letter(JsonWriter& json, const storage::DeadLetter& letter, bool with_event);
std::string letter_table(const std::vector<storage::DeadLetter>& letters);
std::string letter_text(const storage::DeadLetter& letter);

// RFC 4180, ended by CRLF. The last column is the event as one line of JSON.
std::string csv_header();
std::string csv_row(const storage::DeadLetter& letter);
std::string csv_cell(std::string_view text);

// One event (or one letter with its event) a line.
std::string ndjson_line(const storage::DeadLetter& letter, bool raw_only);

// A range a lane gave up, and whether its events are still on disk.
struct GivenUp {
  std::string lane;
  storage::ExpiredRange range;
  bool retained = false;
};
void write_given_up(JsonWriter& json, const GivenUp& row);
std::string given_up_table(const std::vector<GivenUp>& rows);

}  // namespace weir::admin
