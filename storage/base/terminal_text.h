// Text from strangers on a terminal: nothing in it may move the cursor, change colours or titles,
// or turn the reading direction around.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weir {

// Controls (C0, DEL, C1), invalid UTF-8, and characters without a glyph that change how others are
// shown (bidirectional and zero-width ones, separators, tags) become '?'. Of more than max_chars
// characters the last shown one is an ellipsis.
std::string terminal_text(std::string_view text, size_t max_chars = std::string_view::npos);

}  // namespace weir
