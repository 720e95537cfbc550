// Writing HTML text: the one escaping function every page Weir makes uses.
#pragma once

#include <string>
#include <string_view>

namespace weir {

// Text for an element or a double-quoted attribute (HTML Living Standard, "Serializing HTML
// fragments"): hostile text shows as itself and ends neither.
std::string html_text(std::string_view text);

}  // namespace weir
