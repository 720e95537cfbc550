#include "collector/options/print.h"

#include "collector/options/table.h"
#include "storage/base/json_text.h"
#include "storage/base/roff_text.h"

namespace weir::options {
namespace {

constexpr size_t kCommentColumns = 100;

Value default_value(const OptionRow& row) {
  RawValue raw;
  raw.from_text = true;
  raw.text = row.effective_default();
  auto value = to_value(row.type, raw);
  return value ? std::move(*value) : Value();
}

std::string shown(const OptionRow& row, int64_t number) {
  Value value;
  value.number = number;
  std::string text = to_toml(row.type, value);
  if (text.starts_with('"')) text = text.substr(1, text.size() - 2);
  return text;
}

std::string unit_of(const OptionRow& row) {
  switch (row.type) {
    case Type::kSize:
      return "bytes, or with a unit";
    case Type::kDuration:
      return "duration with a unit (ms, s, m, h, d)";
    case Type::kSeconds:
      return "seconds";
    case Type::kChoice: {
      std::string choices(row.choices);
      for (char& c : choices)
        if (c == '|') c = ' ';
      return "one of: " + choices;
    }
    case Type::kBool:
    case Type::kInteger:
    case Type::kText:
    case Type::kList:
    case Type::kMap:
    case Type::kListMap:
      break;
  }
  return std::string(type_name(row.type));
}

std::string range_of(const OptionRow& row) {
  const bool numeric = row.type == Type::kInteger || row.type == Type::kSize ||
                       row.type == Type::kDuration || row.type == Type::kSeconds;
  if (!numeric || (row.min == 0 && row.max == kNoMax)) return "";
  std::string text = "at least " + shown(row, row.min);
  if (row.max != kNoMax) text = shown(row, row.min) + " to " + shown(row, row.max);
  return row.zero_is_special() ? "0 or " + text : text;
}

std::string default_text(const OptionRow& row) {
  return row.required() ? "none, required" : to_toml(row.type, default_value(row));
}

// A comment, wrapped at the column limit.
void append_comment(std::string& out, std::string_view text) {
  std::string line = "#";
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (line.size() + 1 + word.size() > kCommentColumns && line != "#") {
      out += line + "\n";
      line = "#";
    }
    line += ' ';
    line += word;
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  }
  out += line + "\n";
}

void append_option_comment(std::string& out, const OptionRow& row) {
  append_comment(out, row.help);
  std::string facts = unit_of(row);
  if (const std::string range = range_of(row); !range.empty()) facts += "; " + range;
  append_comment(out, fmt::format("({}; default {})", facts, default_text(row)));
}

void append_setting(std::string& out, const EffectiveSetting& setting, bool show_secrets) {
  const OptionRow& row = *setting.row;
  append_option_comment(out, row);
  const std::string value = to_toml(row.type, setting.value);
  const std::string shown = show_secrets ? value : shown_value(row, setting.value);
  if (!setting.origin.text.empty()) append_comment(out, "from " + setting.origin.text);
  // What is not whole must not be read back.
  out += fmt::format("{}{} = {}\n", shown == value ? "" : "# ", row.name, shown);
}

// An example entry, commented out, for an array section without entries.
void append_example(std::string& out, const SectionInfo& section) {
  out += fmt::format("# [[{}]]\n", section.name);
  for (const OptionRow& row : option_table()) {
    if (row.section != section.name) continue;
    append_option_comment(out, row);
    out += fmt::format("# {} = {}\n", row.name, to_toml(row.type, default_value(row)));
  }
}

std::string escape_markdown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

std::string environment_name(const OptionRow& row, bool array) {
  std::string out = "WEIR_";
  const auto append = [&](std::string_view text) {
    for (const char c : text) {
      if (c == '.')
        out += "__";
      else
        out.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
    }
  };
  append(row.section);
  out += array ? "__0__" : "__";
  append(row.name);
  return out;
}

constexpr std::string_view kDocsHead = R"(# Configuration

This page is generated from the table of options (collector/options/table.cc) by
`weir config print --markdown`; do not edit it.

An option can be set, the later winning, in

1. a TOML file: `weir serve --config weir.toml`,
2. the environment: `WEIR_STORE__MAX_BYTES=20GB` is `max_bytes` of `[store]`; entries of lists are
   numbered from 0: `WEIR_DESTINATIONS__0__URL`, `WEIR_DESTINATIONS__0__BATCH__MAX_EVENTS`,
3. a flag: `--set store.max_bytes=20GB`, `--set destinations.0.url=https://…`; the short flags of
   `weir serve --help` are the same options.

Sizes are bytes or have a unit (`256MiB`, `20GB`), durations have one (`200ms`, `5m`, `7d`). Lists
are written `["a", "b"]` in the file, and also `a,b` in the environment and in flags; tables
`{ a = "x" }`, and also `a=x,b=y`. A secret can be read from a file: `<name>_file` instead of
`<name>`. An unknown option is an error. `weir check --config weir.toml` says what is wrong, with
file, line and a hint; `weir config print` shows the effective value of every option.

The column *reload* says whether SIGHUP (or `POST /api/v1/reload`) can change an option of a running
server. A reload that would change any other option is refused as a whole.
)";

}  // namespace

std::string print_toml(const Options& options, bool show_secrets) {
  std::string out;
  for (const SectionInfo& section : sections()) {
    if (!out.empty()) out += "\n";
    append_comment(out, section.help);
    int entry = -2;
    for (const EffectiveSetting& setting : options.settings) {
      if (setting.row->section != section.name || section.array) continue;
      if (entry == -2) out += fmt::format("[{}]\n", section.name);
      entry = -1;
      append_setting(out, setting, show_secrets);
    }
    if (!section.array) continue;
    // Settings are ordered by row, entries are printed one by one.
    int count = 0;
    for (const EffectiveSetting& setting : options.settings)
      if (setting.row->section == section.name) count = std::max(count, setting.index + 1);
    if (count == 0) append_example(out, section);
    for (int i = 0; i < count; ++i) {
      out += fmt::format("[[{}]]\n", section.name);
      for (const EffectiveSetting& setting : options.settings)
        if (setting.row->section == section.name && setting.index == i)
          append_setting(out, setting, show_secrets);
    }
  }
  return out;
}

std::string print_json(const Options& options) {
  std::string out = "{";
  for (const EffectiveSetting& setting : options.settings) {
    const OptionRow& row = *setting.row;
    if (out.size() > 1) out += ",";
    append_json_string(out, setting.path());
    out += ":{\"value\":";
    append_json_string(out, shown_value(row, setting.value));
    out += ",\"default\":";
    append_json_string(out, default_text(row));
    out += ",\"origin\":";
    append_json_string(out, setting.origin.text.empty() ? "default" : setting.origin.text);
    out += "}";
  }
  return out + "}";
}

std::string configuration_docs() {
  std::string out(kDocsHead);
  for (const SectionInfo& section : sections()) {
    const std::string heading =
        fmt::format(fmt::runtime(section.array ? "[[{}]]" : "[{}]"), section.name);
    out += fmt::format("\n## `{}`\n\n{}\n\n", heading, section.help);
    out += "| option | type | default | limits | reload | meaning |\n|---|---|---|---|---|---|\n";
    for (const OptionRow& row : option_table()) {
      if (row.section != section.name) continue;
      std::string type(type_name(row.type));
      if (row.type == Type::kChoice) type = unit_of(row);
      if (row.secret()) type += ", secret";
      // The documentation describes the ordinary build.
      Value value;
      RawValue raw;
      raw.from_text = true;
      raw.text = row.default_text;
      if (auto parsed = to_value(row.type, raw)) value = std::move(*parsed);
      out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", row.name, escape_markdown(type),
                         row.required() ? "required" : "`" + to_toml(row.type, value) + "`",
                         range_of(row), row.reloadable() ? "yes" : "", escape_markdown(row.help));
    }
  }
  out += "\n## Environment variables\n\n| option | variable |\n|---|---|\n";
  for (const OptionRow& row : option_table()) {
    const bool array = find_section(row.section)->array;
    out += fmt::format("| `{}{}.{}` | `{}` |\n", row.section, array ? "[0]" : "", row.name,
                       environment_name(row, array));
  }
  return out;
}

std::string configuration_man(std::string_view version) {
  std::string out = fmt::format(
      ".TH \"weir.toml\" 5 \"\" \"Weir {}\" \"Weir\"\n.SH NAME\nweir.toml \\- configuration of "
      "weir(1)\n.SH DESCRIPTION\nA TOML file, given to \\fBweir serve \\-\\-config\\fR. "
      "Environment "
      "variables (WEIR_STORE__MAX_BYTES, WEIR_DESTINATIONS__0__URL) beat the file, flags "
      "(\\-\\-set store.max_bytes=20GB) beat both. Sizes are bytes or have a unit (256MiB, 20GB), "
      "durations have one (200ms, 5m, 7d). A secret can be read from a file: <name>_file instead "
      "of "
      "<name>.\n",
      roff_text(version));
  for (const SectionInfo& section : sections()) {
    out += fmt::format(fmt::runtime(section.array ? ".SH [[{}]]\n{}\n" : ".SH [{}]\n{}\n"),
                       roff_text(section.name), roff_text(section.help));
    for (const OptionRow& row : option_table()) {
      if (row.section != section.name) continue;
      std::string facts = unit_of(row);
      if (const std::string range = range_of(row); !range.empty()) facts += "; " + range;
      out += fmt::format(".TP\n\\fB{}\\fR ({}; default {}{})\n{}\n", roff_text(row.name),
                         roff_text(facts), roff_text(default_text(row)),
                         row.reloadable() ? "; reloadable" : "", roff_text(row.help));
    }
  }
  return out + ".SH SEE ALSO\nweir(1)\n";
}

}  // namespace weir::options
