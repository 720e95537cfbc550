#include "storage/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>

#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<Format> g_format{Format::kLogfmt};
std::atomic<uint64_t> g_dropped{0};

struct RateWindow {
  int64_t second = 0;
  unsigned written = 0;
  uint64_t dropped = 0;
};

// Guards the rate windows and keeps lines whole. Logging is never on the path of an event.
std::mutex g_mutex;
// Keyed by event names, which are literals of ours: bounded by the source.
std::map<std::string, RateWindow, std::less<>>& rate_windows() {
  static auto* const windows = new std::map<std::string, RateWindow, std::less<>>();
  return *windows;
}

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
  }
  return "info";
}

bool needs_quotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text)
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || static_cast<unsigned char>(c) >= 0x7f)
      return true;
  return false;
}

void append_logfmt(std::string& out, const Value& value) {
  if (value.quoted() && needs_quotes(value.text()))
    append_json_string(out, value.text());
  else
    out += value.text();
}

void write_all(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody reads the log; nothing better to do
    line.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

void configure(const Options& options) {
  g_level = options.level;
  g_format = options.format;
}

uint64_t dropped_lines() { return g_dropped; }

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

std::string render(Format format, Level level, int64_t wall_ms, std::string_view event,
                   Fields fields) {
  std::string out;
  if (format == Format::kLogfmt) {
    out += "ts=";
    append_rfc3339_ms(out, wall_ms);
    out += " level=";
    out += level_name(level);
    out += " event=";
    out += event;
    for (const Field& field : fields) {
      out.push_back(' ');
      out += field.key;
      out.push_back('=');
      append_logfmt(out, field.value);
    }
    return out;
  }
  out += "{\"ts\":\"";
  append_rfc3339_ms(out, wall_ms);
  out += "\",\"level\":\"";
  out += level_name(level);
  out += "\",\"event\":";
  append_json_string(out, event);
  for (const Field& field : fields) {
    out.push_back(',');
    append_json_string(out, field.key);
    out.push_back(':');
    if (field.value.quoted())
      append_json_string(out, field.value.text());
    else
      out += field.value.text();
  }
  out.push_back('}');
  return out;
}

void write(Level level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const int64_t now_ms = Clock::system().wall_ms();
  std::string line = render(g_format, level, now_ms, event, fields);
  std::lock_guard lock(g_mutex);
  auto found = rate_windows().find(event);
  if (found == rate_windows().end())
    found = rate_windows().emplace(std::string(event), RateWindow{}).first;
  RateWindow& window = found->second;
  if (window.second != now_ms / 1000) {
    if (window.dropped > 0) {
      std::string note = render(g_format, Level::kWarn, now_ms, "log_lines_dropped",
                                {{"of", event}, {"lines", window.dropped}});
      write_all(note + "\n");
    }
    window = RateWindow{now_ms / 1000, 0, 0};
  }
  if (window.written >= kMaxPerSecond) {
    ++window.dropped;
    ++g_dropped;
    return;
  }
  ++window.written;
  line.push_back('\n');
  write_all(line);
}

}  // namespace weir::log
