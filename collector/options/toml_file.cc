// The configuration file: TOML text to raw settings, each with its file, line and column.
#include <sys/stat.h>
#include <toml++/toml.h>

#include <fstream>
#include <sstream>

#include "collector/options/sources.h"
#include "collector/options/table.h"

namespace weir::options {
namespace {

class FileReader {
 public:
  FileReader(std::string path, Collected& out) : path_(std::move(path)), out_(out) {}

  void read(const toml::table& root) {
    for (const auto& [key, node] : root) read_section(std::string(key.str()), key, node);
  }

 private:
  Origin origin_of(const toml::source_region& source) const {
    Origin origin;
    origin.file = path_;
    origin.line = source.begin.line;
    origin.column = source.begin.column;
    origin.text = fmt::format("{}:{}", path_, origin.line);
    return origin;
  }

  void problem(const Origin& origin, std::string path, std::string message, std::string hint) {
    out_.problems.push_back({origin, std::move(path), std::move(message), std::move(hint)});
  }

  void read_section(const std::string& name, const toml::key& key, const toml::node& node) {
    const SectionInfo* section = find_section(name);
    if (section == nullptr && !node.is_table() && !node.is_array_of_tables()) {
      const std::string_view home = section_with_option(name);
      if (!home.empty())
        return problem(origin_of(key.source()), name, "this option stands outside of its section",
                       fmt::format("write it below [{}]", home));
    }
    if (section == nullptr) return report_unknown_section(name, origin_of(key.source()), out_);
    if (section->array) return read_entries(*section, key, node);
    if (const toml::table* table = node.as_table()) return read_options(name, -1, "", *table);
    problem(origin_of(key.source()), name, "must be a section",
            fmt::format("write [{}] on a line of its own and its options below", name));
  }

  void read_entries(const SectionInfo& section, const toml::key& key, const toml::node& node) {
    const std::string name(section.name);
    const toml::array* array = node.as_array();
    if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
      if (array != nullptr && array->empty()) return;
      return problem(origin_of(key.source()), name, "must be a list of sections",
                     fmt::format("write [[{}]], with two brackets, once for each entry", name));
    }
    int index = 0;
    for (const toml::node& entry : *array) {
      out_.entries[name].push_back(origin_of(entry.source()));
      read_options(name, index++, "", *entry.as_table());
    }
  }

  void read_options(const std::string& section, int index, const std::string& prefix,
                    const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const OptionRow* row = find_option(section, name);
      if (row == nullptr && is_option_group(section, name) && node.is_table()) {
        read_options(section, index, name + ".", *node.as_table());
        continue;
      }
      RawSetting setting{section, index, name, to_raw(node), origin_of(key.source())};
      out_.settings.push_back(std::move(setting));
    }
  }

 public:
  static RawValue to_raw(const toml::node& node) {
    using Kind = RawValue::Kind;
    RawValue raw;
    if (const auto* text = node.as_string()) {
      raw.text = text->get();
    } else if (const auto* integer = node.as_integer()) {
      raw.kind = Kind::kInteger;
      raw.integer = integer->get();
    } else if (const auto* boolean = node.as_boolean()) {
      raw.kind = Kind::kBool;
      raw.boolean = boolean->get();
    } else if (const auto* array = node.as_array()) {
      raw.kind = texts_of(*array, &raw.list) ? Kind::kList : Kind::kOther;
      raw.text = "a list of something else than texts";
    } else if (const auto* table = node.as_table()) {
      table_to_raw(*table, raw);
    } else {
      raw.kind = node.is_floating_point() ? Kind::kFloat : Kind::kOther;
      raw.text = node.is_floating_point() ? "a number with a fraction" : "a date or time";
    }
    return raw;
  }

 private:
  static bool texts_of(const toml::array& array, std::vector<std::string>* texts) {
    for (const toml::node& item : array) {
      if (const auto* text = item.as_string())
        texts->push_back(text->get());
      else if (const auto* integer = item.as_integer())
        texts->push_back(std::to_string(integer->get()));
      else
        return false;
    }
    return true;
  }

  static void table_to_raw(const toml::table& table, RawValue& raw) {
    using Kind = RawValue::Kind;
    raw.kind = Kind::kMap;
    for (const auto& [key, node] : table) {
      const std::string name(key.str());
      if (const auto* text = node.as_string()) {
        raw.map.emplace_back(name, text->get());
      } else if (const auto* array = node.as_array()) {
        raw.list_map.emplace_back(name, std::vector<std::string>());
        if (!texts_of(*array, &raw.list_map.back().second)) raw.kind = Kind::kOther;
      } else {
        raw.kind = Kind::kOther;
      }
    }
    if (raw.kind == Kind::kMap && !raw.list_map.empty())
      raw.kind = raw.map.empty() ? Kind::kListMap : Kind::kOther;
    if (raw.kind == Kind::kOther) raw.text = "a table of something else";
  }

  std::string path_;
  Collected& out_;
};

}  // namespace

void read_toml_file(const std::string& path, Collected& out) {
  Origin origin;
  origin.text = origin.file = path;
  std::ifstream file(path, std::ios::binary);
  struct stat status {};
  if (!file || stat(path.c_str(), &status) != 0 || S_ISDIR(status.st_mode)) {
    const int why = file ? EISDIR : errno;
    out.problems.push_back({origin, "", fmt::format("cannot read it: {}", std::strerror(why)),
                            "give the path of a TOML file with --config"});
    return;
  }
  std::stringstream text;
  text << file.rdbuf();
  try {
    const toml::table root = toml::parse(text.view(), std::string_view(path));
    FileReader(path, out).read(root);
  } catch (const toml::parse_error& error) {
    origin.line = error.source().begin.line;
    origin.column = error.source().begin.column;
    origin.text = fmt::format("{}:{}:{}", path, origin.line, origin.column);
    out.problems.push_back({origin, "", fmt::format("not valid TOML: {}", error.description()),
                            "see https://toml.io/en/v1.0.0 for the syntax; texts need quotes"});
  }
}

bool parse_toml_value(std::string_view text, RawValue* value) {
  try {
    const toml::table root = toml::parse(fmt::format("v = {}", text));
    if (root.size() != 1 || root.get("v") == nullptr) return false;
    *value = FileReader::to_raw(*root.get("v"));
    return true;
  } catch (const toml::parse_error&) {
    return false;
  }
}

}  // namespace weir::options
