// A moment as people write it into a query: RFC 3339, milliseconds since 1970, or how long ago.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "storage/base/result.h"

namespace weir::admin {

// "2026-11-20T21:00:00Z", "1795208400000", "90s", "15m", "2h", "7d" (before now_ms). Milliseconds.
Result<int64_t> parse_moment(std::string_view text, int64_t now_ms);

}  // namespace weir::admin
