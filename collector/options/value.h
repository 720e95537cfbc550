// One configured value between its text form and its typed home: sizes, durations, lists.
// Thread: any; plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/result.h"

namespace weir::options {

enum class Type : uint8_t {
  kBool,
  kInteger,
  kSize,      // bytes: 1048576, "256MiB"
  kDuration,  // "200ms", "5m", "7d"; held in milliseconds
  kSeconds,   // 10 or "10s"; held in milliseconds
  kText,
  kChoice,   // one of OptionRow::choices
  kList,     // ["a", "b"]; in the environment also a,b
  kMap,      // { a = "x" }; in the environment also a=x,b=y
  kListMap,  // { a = ["x", "y"] }
};
std::string_view type_name(Type type);  // for people: "size", "list of texts"

// As a source wrote it, before the option's type is known.
struct RawValue {
  enum class Kind : uint8_t { kText, kInteger, kFloat, kBool, kList, kMap, kListMap, kOther };
  Kind kind = Kind::kText;
  bool from_text = false;  // environment or flag: "true" may mean a boolean
  std::string text;        // kText; for kFloat and kOther what was written, for messages
  int64_t integer = 0;
  bool boolean = false;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> map;
  std::vector<std::pair<std::string, std::vector<std::string>>> list_map;
};

// Which member counts is decided by the row's type.
struct Value {
  int64_t number = 0;  // kInteger, kSize (bytes), kDuration and kSeconds (milliseconds)
  bool boolean = false;
  std::string text;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> map;
  std::vector<std::pair<std::string, std::vector<std::string>>> list_map;
  friend bool operator==(const Value&, const Value&) = default;
};

// Errors say what was expected, with an example.
Result<Value> to_value(Type type, const RawValue& raw);

// "256MiB" -> 268435456. Units B, K/KB/KiB … T/TB/TiB: powers of 1024 with i, of 1000 with B alone.
Result<int64_t> parse_size(std::string_view text);
// "200ms", "10s", "5m", "24h", "7d", also added up: "1h30m". Milliseconds.
Result<int64_t> parse_duration_ms(std::string_view text);

std::string format_size(int64_t bytes);        // the largest unit that divides it: "256MiB", "1000"
std::string format_duration(int64_t ms);       // "7d", "1500ms"
std::string to_toml(Type type, const Value&);  // a literal that reads back to the same value

}  // namespace weir::options
