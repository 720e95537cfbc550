// Sizes, durations and counts as people read them.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::admin {

std::string human_bytes(uint64_t bytes);     // "1.5 GiB"
std::string human_seconds(int64_t seconds);  // "45 s", "3 h"
// "1 event", "2 events"; of words that only get an s.
std::string human_count(uint64_t count, std::string_view one);

}  // namespace weir::admin
