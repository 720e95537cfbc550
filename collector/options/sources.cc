#include "collector/options/sources.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "collector/options/table.h"

extern char** environ;

namespace weir::options {
namespace {

constexpr int kMaxEntries = 1000;  // of one array section

// A value given as plain text. Lists and tables may also be written as in the file.
RawValue text_value(std::string_view section, std::string_view name, const std::string& text) {
  RawValue raw;
  const OptionRow* row = find_option(section, name);
  const bool structured = row != nullptr && (row->type == Type::kList || row->type == Type::kMap ||
                                             row->type == Type::kListMap);
  if (structured && (text.starts_with('[') || text.starts_with('{')) &&
      parse_toml_value(text, &raw))
    return raw;
  raw.from_text = true;
  raw.text = text;
  return raw;
}

// Splits "destinations.0.batch.max_events" and checks section and index.
void read_path(std::string_view path, const std::string& value, const Origin& origin,
               Collected& out) {
  const size_t dot = path.find('.');
  const std::string_view section_name = path.substr(0, dot);
  const SectionInfo* section = find_section(section_name);
  if (section == nullptr) return report_unknown_section(section_name, origin, out);
  std::string_view name = dot == std::string_view::npos ? "" : path.substr(dot + 1);
  int index = -1;
  if (section->array) {
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const auto digits = static_cast<size_t>(end - name.data());
    auto& entries = out.entries[std::string(section_name)];
    if (error != std::errc() || digits >= name.size() || name[digits] != '.' || index < 0 ||
        index > static_cast<int>(entries.size()) || index >= kMaxEntries) {
      out.problems.push_back(
          {origin, std::string(path), "needs the number of an entry",
           fmt::format("there are {0} [[{1}]]; write {1}.{0}.<option> to add one", entries.size(),
                       section_name)});
      return;
    }
    if (index == static_cast<int>(entries.size())) entries.push_back(origin);
    name = name.substr(digits + 1);
  }
  out.settings.push_back({std::string(section_name), index, std::string(name),
                          text_value(section_name, name, value), origin});
}

}  // namespace

std::string setting_path(std::string_view section, int index, std::string_view name) {
  if (index < 0) return fmt::format("{}.{}", section, name);
  return fmt::format("{}.{}.{}", section, index, name);
}

void report_unknown_section(std::string_view name, const Origin& origin, Collected& out) {
  std::string hint;
  if (const std::string_view near = nearest_section(name); !near.empty())
    hint = fmt::format("did you mean {}?", near);
  else
    hint = "`weir config print` lists every section";
  out.problems.push_back({origin, std::string(name), "unknown section", std::move(hint)});
}

void report_unknown_option(std::string_view section, int index, std::string_view name,
                           const Origin& origin, Collected& out) {
  std::string hint;
  if (const std::string_view near = nearest_option(section, name); !near.empty())
    hint = fmt::format("did you mean {}?", near);
  else if (const std::string_view home = section_with_option(name); !home.empty())
    hint = fmt::format("there is one in section {}", home);
  else
    hint = "`weir config print` lists every option";
  out.problems.push_back(
      {origin, setting_path(section, index, name), "unknown option", std::move(hint)});
}

void read_environment(const std::vector<std::pair<std::string, std::string>>& environment,
                      Collected& out) {
  // Sorted, so that WEIR_KEYS__0__… comes before WEIR_KEYS__1__… whatever order the shell keeps.
  auto sorted = environment;
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [variable, value] : sorted) {
    if (!variable.starts_with("WEIR_")) continue;
    std::string path;
    for (size_t i = 5; i < variable.size(); ++i) {
      if (variable.compare(i, 2, "__") == 0 && !path.empty()) {
        path.push_back('.');
        ++i;
      } else {
        path.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(variable[i]))));
      }
    }
    // WEIR_TOKEN and the like belong to the commands.
    if (path.find('.') == std::string::npos) continue;
    Origin origin;
    origin.text = "environment " + variable;
    read_path(path, value, origin, out);
  }
}

void read_flags(const std::vector<Sources::Flag>& flags, Collected& out) {
  for (const Sources::Flag& flag : flags) {
    Origin origin;
    origin.text = flag.shown;
    read_path(flag.path, flag.value, origin, out);
  }
}

std::vector<std::pair<std::string, std::string>> process_environment() {
  std::vector<std::pair<std::string, std::string>> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      out.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

}  // namespace weir::options
