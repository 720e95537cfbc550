// What a source (file, environment, flag) says, before types and defaults come in.
// Thread: start-up and reload only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "collector/options/options.h"
#include "collector/options/value.h"

namespace weir::options {

struct RawSetting {
  std::string section;
  int index = -1;  // of the array entry
  std::string name;
  RawValue value;
  Origin origin;
};

struct Collected {
  std::vector<RawSetting> settings;
  // Entries of each array section, with where each begins.
  std::map<std::string, std::vector<Origin>, std::less<>> entries;
  std::vector<Problem> problems;
};

// The one place that includes toml.hpp. Unknown sections and options are kept as problems with a
// hint; unreadable files and syntax errors too.
void read_toml_file(const std::string& path, Collected& out);
// A value written as TOML: ["a", "b"], { a = "x" }. False when it is not one.
bool parse_toml_value(std::string_view text, RawValue* value);

void read_environment(const std::vector<std::pair<std::string, std::string>>& environment,
                      Collected& out);
// "store.max_bytes", "destinations.0.batch.max_events".
void read_flags(const std::vector<Sources::Flag>& flags, Collected& out);

// Adds a problem for an option the table does not know, with a hint.
void report_unknown_option(std::string_view section, int index, std::string_view name,
                           const Origin& origin, Collected& out);
void report_unknown_section(std::string_view name, const Origin& origin, Collected& out);

// "destinations.0.url"
std::string setting_path(std::string_view section, int index, std::string_view name);

}  // namespace weir::options
