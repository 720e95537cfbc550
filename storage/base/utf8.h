// What of a text is valid UTF-8. Thread: any; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

// The length of the valid UTF-8 sequence at the start of a text that is not empty (RFC 3629), 0
// when there is none.
size_t utf8_sequence(std::string_view text, uint32_t* code_point);

// The text for a receiver that takes neither invalid UTF-8 nor NUL: each such byte becomes U+FFFD.
// A view of `text` itself when there is nothing to replace, else of *work.
std::string_view printable_utf8(std::string_view text, std::string* work);

}  // namespace weir
