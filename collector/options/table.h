// THE table of options: section, name, type, default, limits, unit, help and where the value lands.
// The file, the environment, the flags, `config print`, validation and docs/configuration.md all
// come from it. Thread: any; constant.
//
// Sections are TOML tables. An array section ([[keys]] …) lands in one element of a list per entry;
// a dotted name ("batch.max_events") is a table inside the section.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "collector/options/value.h"

namespace weir::options {

struct OptionRow {
  std::string_view section;
  std::string_view name;
  Type type = Type::kText;
  // As the environment would give it; kRequired: the entry must set it. Tiny: in builds with
  // WEIR_TINY_LIMITS; empty: the same.
  std::string_view default_text;
  std::string_view tiny_text;
  // Of the number, in bytes, milliseconds or units. kNoMax: no upper limit.
  int64_t min = 0;
  int64_t max = INT64_MAX;
  std::string_view choices;  // kChoice: separated by '|'
  unsigned flags = 0;
  std::string_view help;
  // Puts the value into the struct the section belongs to: Options, or the entry's own.
  void (*land)(void* to, const Value& value) = nullptr;

  bool required() const { return (flags & 1u) != 0; }
  bool secret() const { return (flags & 2u) != 0; }           // never printed; accepts <name>_file
  bool url() const { return (flags & 16u) != 0; }             // shown without who logs in
  bool reloadable() const;                                    // SIGHUP may change it
  bool zero_is_special() const { return (flags & 8u) != 0; }  // 0 is allowed although below min
  std::string_view effective_default() const;  // default_text, or tiny_text in tiny builds
};
constexpr unsigned kRequired = 1;
constexpr unsigned kSecret = 2;
constexpr unsigned kReloadable = 4;
constexpr unsigned kZero = 8;
constexpr unsigned kUrl = 16;
constexpr int64_t kNoMax = INT64_MAX;

struct SectionInfo {
  std::string_view name;
  bool array = false;
  std::string_view help;
  bool reloadable = false;  // as a whole: entries may come and go
};

// The value as a TOML literal that may be shown: of a secret only that there is one, a URL without
// who logs in. The one way in which values get into output, logs and answers.
std::string shown_value(const OptionRow& row, const Value& value);

std::span<const SectionInfo> sections();    // in the order they are printed
std::span<const OptionRow> option_table();  // in the order of the sections
const SectionInfo* find_section(std::string_view name);
const OptionRow* find_option(std::string_view section, std::string_view name);
// True when some option of the section is inside the table `name` ("batch" of "batch.max_events").
bool is_option_group(std::string_view section, std::string_view name);

// The known name nearest to a misspelt one; empty when none is near.
std::string_view nearest_section(std::string_view name);
std::string_view nearest_option(std::string_view section, std::string_view name);
// A section that has an option of this name; empty when none has.
std::string_view section_with_option(std::string_view name);

}  // namespace weir::options
