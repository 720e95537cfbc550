#include "collector/options/value.h"

#include <charconv>
#include <limits>

#include "storage/base/json_text.h"

namespace weir::options {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};
constexpr int64_t kKi = 1024;
constexpr int64_t kK = 1000;
// Sizes are printed with the first one that divides them.
constexpr Unit kSizeUnits[] = {
    {"TiB", kKi* kKi* kKi* kKi},
    {"GiB", kKi* kKi* kKi},
    {"MiB", kKi* kKi},
    {"KiB", kKi},
    {"TB", kK* kK* kK* kK},
    {"GB", kK* kK* kK},
    {"MB", kK* kK},
    {"KB", kK},
    {"kB", kK},
    {"B", 1},
};
constexpr Unit kDurationUnits[] = {
    {"d", 86'400'000}, {"h", 3'600'000}, {"ms", 1}, {"m", 60'000}, {"s", 1'000},
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes the digits in front; false without any or when they do not fit.
bool take_number(std::string_view& text, int64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  if (error != std::errc() || *number < 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool scale(int64_t number, int64_t factor, int64_t* out) {
  return !__builtin_mul_overflow(number, factor, out);
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = trim(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return parts;
}

tl::unexpected<Error> expected(std::string_view what, const RawValue& raw) {
  using Kind = RawValue::Kind;
  std::string found;
  switch (raw.kind) {
    case Kind::kText:
      append_json_string(found, raw.text);
      break;
    case Kind::kInteger:
      found = std::to_string(raw.integer);
      break;
    case Kind::kBool:
      found = raw.boolean ? "true" : "false";
      break;
    case Kind::kList:
      found = "a list";
      break;
    case Kind::kMap:
    case Kind::kListMap:
      found = "a table";
      break;
    case Kind::kFloat:
    case Kind::kOther:
      found = raw.text;
      break;
  }
  return fail(ErrorCode::kInvalidArgument, "must be {}, not {}", what, found);
}

Result<Value> to_bool(const RawValue& raw) {
  Value value;
  if (raw.kind == RawValue::Kind::kBool) {
    value.boolean = raw.boolean;
    return value;
  }
  if (raw.kind == RawValue::Kind::kText && raw.from_text) {
    for (const std::string_view yes : {"true", "yes", "on", "1"})
      if (raw.text == yes) {
        value.boolean = true;
        return value;
      }
    for (const std::string_view no : {"false", "no", "off", "0"})
      if (raw.text == no) return value;
  }
  return expected("true or false", raw);
}

Result<Value> to_number(Type type, const RawValue& raw) {
  Value value;
  std::string_view what = "a whole number, for example 100";
  if (type == Type::kSize) what = "a size, for example \"256MiB\" or 1048576";
  if (type == Type::kDuration) what = "a duration with its unit, for example \"200ms\" or \"5m\"";
  if (type == Type::kSeconds)
    what = "a number of seconds, for example 10, or a duration like \"2m\"";
  if (raw.kind == RawValue::Kind::kInteger) {
    if (type == Type::kDuration && raw.integer != 0) return expected(what, raw);
    value.number = raw.integer;
    if (type == Type::kSeconds && !scale(raw.integer, 1000, &value.number))
      return expected(what, raw);
    return value;
  }
  if (raw.kind != RawValue::Kind::kText) return expected(what, raw);
  std::string_view text = trim(raw.text);
  int64_t number = 0;
  std::string_view rest = text;
  const bool plain = take_number(rest, &number) && rest.empty();
  if (plain && (raw.from_text || type == Type::kSize)) {
    RawValue integer;
    integer.kind = RawValue::Kind::kInteger;
    integer.integer = number;
    return to_number(type, integer);
  }
  if (type == Type::kInteger) {
    if (raw.from_text && text.starts_with('-') && (rest = text.substr(1), true) &&
        take_number(rest, &number) && rest.empty()) {
      value.number = -number;
      return value;
    }
    return expected(what, raw);
  }
  const auto parsed = type == Type::kSize ? parse_size(text) : parse_duration_ms(text);
  if (!parsed) return expected(what, raw);
  value.number = *parsed;
  return value;
}

Result<Value> to_list(const RawValue& raw) {
  Value value;
  if (raw.kind == RawValue::Kind::kList)
    value.list = raw.list;
  else if (raw.kind == RawValue::Kind::kText && raw.from_text)
    value.list = split_commas(raw.text);
  else
    return expected("a list of texts, for example [\"a\", \"b\"]", raw);
  return value;
}

Result<Value> to_map(const RawValue& raw) {
  Value value;
  constexpr std::string_view kWhat = "a table of texts, for example { name = \"value\" }";
  if (raw.kind == RawValue::Kind::kMap) {
    value.map = raw.map;
    return value;
  }
  if (raw.kind != RawValue::Kind::kText || !raw.from_text) return expected(kWhat, raw);
  for (const std::string& part : split_commas(raw.text)) {
    const size_t equals = part.find('=');
    if (equals == 0 || equals == std::string::npos) return expected(kWhat, raw);
    value.map.emplace_back(trim(std::string_view(part).substr(0, equals)),
                           trim(std::string_view(part).substr(equals + 1)));
  }
  return value;
}

Result<Value> to_list_map(const RawValue& raw) {
  Value value;
  if (raw.kind == RawValue::Kind::kListMap)
    value.list_map = raw.list_map;
  else if ((raw.kind == RawValue::Kind::kMap && raw.map.empty()) ||
           (raw.kind == RawValue::Kind::kText && raw.from_text && raw.text.empty()))
    return value;
  else
    return expected("a table of lists, for example { name = [\"a\", \"b\"] }", raw);
  return value;
}

std::string toml_string(std::string_view text) {
  // A JSON string is a TOML basic string as long as nothing is escaped with \/ or a surrogate pair,
  // neither of which append_json_string writes.
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string toml_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& item : list) {
    if (out.size() > 1) out += ", ";
    out += toml_string(item);
  }
  return out + "]";
}

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kBool:
      return "boolean";
    case Type::kInteger:
      return "number";
    case Type::kSize:
      return "size";
    case Type::kDuration:
      return "duration";
    case Type::kSeconds:
      return "seconds";
    case Type::kText:
      return "text";
    case Type::kChoice:
      return "choice";
    case Type::kList:
      return "list of texts";
    case Type::kMap:
      return "table of texts";
    case Type::kListMap:
      return "table of lists";
  }
  return "text";
}

Result<Value> to_value(Type type, const RawValue& raw) {
  switch (type) {
    case Type::kBool:
      return to_bool(raw);
    case Type::kInteger:
    case Type::kSize:
    case Type::kDuration:
    case Type::kSeconds:
      return to_number(type, raw);
    case Type::kList:
      return to_list(raw);
    case Type::kMap:
      return to_map(raw);
    case Type::kListMap:
      return to_list_map(raw);
    case Type::kText:
    case Type::kChoice:
      break;
  }
  if (raw.kind != RawValue::Kind::kText) return expected("a text in quotes", raw);
  Value value;
  value.text = raw.text;
  return value;
}

Result<int64_t> parse_size(std::string_view text) {
  text = trim(text);
  int64_t number = 0;
  std::string_view rest = text;
  if (take_number(rest, &number)) {
    rest = trim(rest);
    if (rest.empty()) return number;
    for (const Unit& unit : kSizeUnits)
      if (rest == unit.name && scale(number, unit.factor, &number)) return number;
  }
  return fail(ErrorCode::kInvalidArgument, "\"{}\" is not a size; write for example \"256MiB\"",
              text);
}

Result<int64_t> parse_duration_ms(std::string_view text) {
  text = trim(text);
  std::string_view rest = text;
  int64_t total = 0;
  bool ok = !rest.empty();
  if (rest == "0") return 0;
  while (ok && !rest.empty()) {
    int64_t number = 0;
    ok = take_number(rest, &number);
    bool known = false;
    for (const Unit& unit : kDurationUnits) {
      if (!ok || !rest.starts_with(unit.name)) continue;
      known = scale(number, unit.factor, &number) && !__builtin_add_overflow(total, number, &total);
      rest.remove_prefix(unit.name.size());
      break;
    }
    ok = ok && known;
  }
  if (ok) return total;
  return fail(ErrorCode::kInvalidArgument,
              "\"{}\" is not a duration; write for example \"200ms\", \"5m\" or \"7d\"", text);
}

std::string format_size(int64_t bytes) {
  if (bytes != 0)
    for (const Unit& unit : kSizeUnits)
      if (unit.name.ends_with("iB") && bytes % unit.factor == 0)
        return fmt::format("{}{}", bytes / unit.factor, unit.name);
  return std::to_string(bytes);
}

std::string format_duration(int64_t ms) {
  if (ms == 0) return "0s";
  for (const std::string_view name : {"d", "h", "m", "s"})
    for (const Unit& unit : kDurationUnits)
      if (unit.name == name && ms % unit.factor == 0)
        return fmt::format("{}{}", ms / unit.factor, unit.name);
  return fmt::format("{}ms", ms);
}

std::string to_toml(Type type, const Value& value) {
  switch (type) {
    case Type::kBool:
      return value.boolean ? "true" : "false";
    case Type::kInteger:
      return std::to_string(value.number);
    case Type::kSize: {
      const std::string text = format_size(value.number);
      return text.back() == 'B' ? toml_string(text) : text;
    }
    case Type::kDuration:
      return toml_string(format_duration(value.number));
    case Type::kSeconds:
      return value.number % 1000 == 0 ? std::to_string(value.number / 1000)
                                      : toml_string(format_duration(value.number));
    case Type::kText:
    case Type::kChoice:
      return toml_string(value.text);
    case Type::kList:
      return toml_list(value.list);
    case Type::kMap:
    case Type::kListMap:
      break;
  }
  std::string out = "{";
  for (const auto& [name, text] : value.map) {
    out += out.size() > 1 ? ", " : " ";
    out += fmt::format("{} = {}", toml_string(name), toml_string(text));
  }
  for (const auto& [name, list] : value.list_map) {
    out += out.size() > 1 ? ", " : " ";
    out += fmt::format("{} = {}", toml_string(name), toml_list(list));
  }
  return out + (out.size() > 1 ? " }" : "}");
}

}  // namespace weir::options
