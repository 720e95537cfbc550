#include "collector/admin/query_time.h"

#include <charconv>

#include "storage/base/clock.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {

Result<int64_t> parse_moment(std::string_view text, int64_t now_ms) {
  int64_t number = 0;
  if (parse_rfc3339_ms(text, &number)) return number;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (error == std::errc() && number >= 0) {
    if (unit.empty()) return number;
    const int64_t ms = unit == "s"   ? 1'000
                       : unit == "m" ? 60'000
                       : unit == "h" ? 3'600'000
                       : unit == "d" ? 86'400'000
                                     : 0;
    if (ms != 0 && number < 1'000'000'000) return now_ms - number * ms;
  }
  return fail(ErrorCode::kInvalidArgument,
              "\"{}\" is no time; write for example 2026-11-20T21:00:00Z, milliseconds since 1970, "
              "or 90s, 15m, 2h, 7d for so long ago",
              terminal_text(text, 64));
}

}  // namespace weir::admin
