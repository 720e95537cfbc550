// Sizes and durations as people read them.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <string>

namespace weir::admin {

std::string human_bytes(uint64_t bytes);     // "1.5 GiB"
std::string human_seconds(int64_t seconds);  // "45 s", "3 h"

}  // namespace weir::admin
