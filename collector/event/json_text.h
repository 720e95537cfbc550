// The grammar of JSON (RFC 8259), read the slow and obvious way. It answers where and why a text is
// wrong after the fast parser said that it is; tests hold the fast parser against it.
// Path: cold (errors).  Thread: any.
#pragma once

#include <cstddef>
#include <string_view>

#include "collector/event/arena.h"

namespace weir::event {

struct SyntaxError {
  size_t offset = 0;        // of the first byte that cannot be there
  std::string_view reason;  // static text, safe to show
  bool found() const { return !reason.empty(); }
};

// Checks that text is exactly one JSON value with optional white space around it: UTF-8, grammar,
// at most max_depth containers in one another. Numbers of any size, lone surrogate escapes, \u0000
// and repeated member names are valid. found() is false when it is one.
SyntaxError find_syntax_error(std::string_view text, unsigned max_depth);

// The text of a string literal whose escapes were checked (without its quotes), decoded to UTF-8.
// A lone surrogate becomes U+FFFD. LIFETIME: the arena's, or the literal's if nothing is escaped.
std::string_view decode_string(std::string_view literal, Arena& arena);

// Checks every escape sequence in text: \ is followed by one of "\/bfnrt or by u and four hex
// digits. Valid only where text passed the other checks.
bool escapes_are_valid(std::string_view text);

}  // namespace weir::event
