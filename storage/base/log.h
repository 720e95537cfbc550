// Structured logs: an event name, then key=value fields, as logfmt or JSON lines on stderr. Values
// are escaped here (control characters, quotes, invalid UTF-8), so hostile text from a client
// cannot forge a line or move a terminal's cursor. Secrets are never passed in.
//
//   log::warn("destination_unreachable", {{"destination", name}, {"error", error.message}});
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace weir::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };
enum class Format : uint8_t { kLogfmt, kJson };

// One value. Numbers and booleans stay unquoted in JSON.
class Value {
 public:
  // NOLINTBEGIN(google-explicit-constructor): fields are written as plain literals
  Value(std::string_view text) : text_(text), quoted_(true) {}
  Value(const char* text) : text_(text), quoted_(true) {}
  Value(const std::string& text) : text_(text), quoted_(true) {}
  Value(bool value) : text_(value ? "true" : "false") {}
  Value(int value) : text_(std::to_string(value)) {}
  Value(unsigned value) : text_(std::to_string(value)) {}
  Value(long value) : text_(std::to_string(value)) {}
  Value(unsigned long value) : text_(std::to_string(value)) {}
  Value(long long value) : text_(std::to_string(value)) {}
  Value(unsigned long long value) : text_(std::to_string(value)) {}
  Value(double value) : text_(std::to_string(value)) {}
  // NOLINTEND(google-explicit-constructor)

  const std::string& text() const { return text_; }
  bool quoted() const { return quoted_; }

 private:
  std::string text_;
  bool quoted_ = false;
};

struct Field {
  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

struct Options {
  Level level = Level::kInfo;
  Format format = Format::kLogfmt;
};

// Call once at start-up and again on reload; any thread. The same event name is written at most
// kMaxPerSecond times a second; what is left out is counted and said with the next line.
constexpr unsigned kMaxPerSecond = 50;
void configure(const Options& options);
uint64_t dropped_lines();

bool enabled(Level level);
void write(Level level, std::string_view event, Fields fields);

inline void debug(std::string_view event, Fields fields = {}) {
  if (enabled(Level::kDebug)) write(Level::kDebug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) { write(Level::kInfo, event, fields); }
inline void warn(std::string_view event, Fields fields = {}) { write(Level::kWarn, event, fields); }
inline void error(std::string_view event, Fields fields = {}) {
  write(Level::kError, event, fields);
}

// Exposed for tests: the line without its newline.
std::string render(Format format, Level level, int64_t wall_ms, std::string_view event,
                   Fields fields);

}  // namespace weir::log
