#include "collector/event/json_text.h"

#include <cstdint>

namespace weir::event {
namespace {

constexpr std::string_view kEnd = "the text ends inside a value";
constexpr std::string_view kUtf8 = "invalid UTF-8";
constexpr std::string_view kControl = "a control character inside a string has to be escaped";
constexpr std::string_view kEscape = "invalid escape sequence";
constexpr std::string_view kNumber = "invalid number";
constexpr std::string_view kLiteral = "expected a value";
constexpr std::string_view kDeep = "nested too deeply";
constexpr std::string_view kMember = "expected a member name in quotes";
constexpr std::string_view kColon = "expected ':' after the member name";
constexpr std::string_view kObjectNext = "expected ',' or '}'";
constexpr std::string_view kArrayNext = "expected ',' or ']'";
constexpr std::string_view kTrailing = "unexpected text after the value";

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The value of four hex digits, -1 when they are none.
int32_t hex4(const char* at) {
  int32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

bool is_simple_escape(char c) {
  return c == '"' || c == '\\' || c == '/' || c == 'b' || c == 'f' || c == 'n' || c == 'r' ||
         c == 't';
}

class Checker {
 public:
  Checker(std::string_view text, unsigned max_depth) : text_(text), max_depth_(max_depth) {}

  SyntaxError run() {
    skip_space();
    if (value(0)) {
      skip_space();
      if (at_ < text_.size()) fail(at_, kTrailing);
    }
    return error_;
  }

 private:
  bool fail(size_t offset, std::string_view reason) {
    error_ = {offset, reason};
    return false;
  }
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return text_[at_]; }
  void skip_space() {
    while (!at_end() && (peek() == ' ' || peek() == '\n' || peek() == '\t' || peek() == '\r'))
      ++at_;
  }

  bool value(unsigned depth) {
    if (at_end()) return fail(at_, kEnd);
    switch (peek()) {
      case '{':
        return depth < max_depth_ ? object(depth + 1) : fail(at_, kDeep);
      case '[':
        return depth < max_depth_ ? array(depth + 1) : fail(at_, kDeep);
      case '"':
        return string();
      case 't':
        return literal("true");
      case 'f':
        return literal("false");
      case 'n':
        return literal("null");
      default:
        return number();
    }
  }

  bool object(unsigned depth) {
    ++at_;
    skip_space();
    if (!at_end() && peek() == '}') return ++at_, true;
    for (;;) {
      skip_space();
      if (at_end()) return fail(at_, kEnd);
      if (peek() != '"') return fail(at_, kMember);
      if (!string()) return false;
      skip_space();
      if (at_end()) return fail(at_, kEnd);
      if (peek() != ':') return fail(at_, kColon);
      ++at_;
      skip_space();
      if (!value(depth)) return false;
      skip_space();
      if (at_end()) return fail(at_, kEnd);
      if (peek() == '}') return ++at_, true;
      if (peek() != ',') return fail(at_, kObjectNext);
      ++at_;
    }
  }

  bool array(unsigned depth) {
    ++at_;
    skip_space();
    if (!at_end() && peek() == ']') return ++at_, true;
    for (;;) {
      skip_space();
      if (!value(depth)) return false;
      skip_space();
      if (at_end()) return fail(at_, kEnd);
      if (peek() == ']') return ++at_, true;
      if (peek() != ',') return fail(at_, kArrayNext);
      ++at_;
    }
  }

  bool string() {
    ++at_;
    for (;;) {
      if (at_end()) return fail(at_, kEnd);
      const auto byte = static_cast<unsigned char>(peek());
      if (byte == '"') return ++at_, true;
      if (byte < 0x20) return fail(at_, kControl);
      if (byte == '\\') {
        if (!escape()) return false;
      } else if (byte < 0x80) {
        ++at_;
      } else {
        const size_t length = sequence();
        if (length == 0) return fail(at_, kUtf8);
        at_ += length;
      }
    }
  }

  bool escape() {
    if (at_ + 1 >= text_.size()) return fail(text_.size(), kEnd);
    if (is_simple_escape(text_[at_ + 1])) return at_ += 2, true;
    if (text_[at_ + 1] != 'u') return fail(at_, kEscape);
    if (at_ + 6 > text_.size() || hex4(text_.data() + at_ + 2) < 0) return fail(at_, kEscape);
    return at_ += 6, true;
  }

  // RFC 3629: the length of the sequence at at_, 0 when it is invalid.
  size_t sequence() const {
    const auto byte = [&](size_t i) {
      return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0u;
    };
    const auto continues = [&](size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
    const unsigned lead = byte(0);
    if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
      if (!continues(1) || !continues(2)) return 0;
      if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
      if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogates
      return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
      if (!continues(1) || !continues(2) || !continues(3)) return 0;
      if (lead == 0xf0 && byte(1) < 0x90) return 0;  // overlong
      if (lead == 0xf4 && byte(1) > 0x8f) return 0;  // above U+10FFFF
      return 4;
    }
    return 0;
  }

  bool literal(std::string_view word) {
    for (size_t i = 0; i < word.size(); ++i) {
      if (at_ + i >= text_.size()) return fail(text_.size(), kEnd);
      if (text_[at_ + i] != word[i]) return fail(at_, kLiteral);
    }
    at_ += word.size();
    return true;
  }

  bool digit() const { return !at_end() && peek() >= '0' && peek() <= '9'; }

  bool number() {
    const size_t start = at_;
    if (peek() == '-') ++at_;
    if (!digit())
      return fail(at_end() ? at_ : start, at_end() ? kEnd : at_ > start ? kNumber : kLiteral);
    if (peek() == '0') {
      ++at_;
      if (digit()) return fail(start, kNumber);
    } else {
      while (digit()) ++at_;
    }
    if (!at_end() && peek() == '.') {
      ++at_;
      if (!digit()) return fail(start, kNumber);
      while (digit()) ++at_;
    }
    if (!at_end() && (peek() == 'e' || peek() == 'E')) {
      ++at_;
      if (!at_end() && (peek() == '+' || peek() == '-')) ++at_;
      if (!digit()) return fail(start, kNumber);
      while (digit()) ++at_;
    }
    return true;
  }

  std::string_view text_;
  unsigned max_depth_;
  size_t at_ = 0;
  SyntaxError error_;
};

char simple_escape(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;  // quote, backslash, slash stand for themselves
  }
}

char* put_utf8(char* to, uint32_t code_point) {
  const auto put = [&](uint32_t byte) { *to++ = static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    put(0xe0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  } else {
    put(0xf0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3f));
    put(0x80 | (code_point >> 6 & 0x3f));
    put(0x80 | (code_point & 0x3f));
  }
  return to;
}

// Reads the \uXXXX at *at (checked before), a pair of them as one code point.
uint32_t read_unicode_escape(const char** at, const char* end) {
  auto unit = static_cast<uint32_t>(hex4(*at + 2));
  *at += 6;
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit <= 0xdbff && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
    const int32_t low = hex4(*at + 2);
    if (low >= 0xdc00 && low <= 0xdfff) {
      *at += 6;
      return 0x10000 + ((unit - 0xd800) << 10) + (static_cast<uint32_t>(low) - 0xdc00);
    }
  }
  return 0xfffd;
}

}  // namespace

SyntaxError find_syntax_error(std::string_view text, unsigned max_depth) {
  return Checker(text, max_depth).run();
}

std::string_view decode_string(std::string_view literal, Arena& arena) {
  if (literal.find('\\') == std::string_view::npos) return literal;
  // Decoded text is never longer: six bytes of escape become at most three.
  char* const start = arena.allocate(literal.size());
  char* to = start;
  const char* const end = literal.data() + literal.size();
  for (const char* at = literal.data(); at < end;) {
    if (*at != '\\') {
      *to++ = *at++;
    } else if (at[1] == 'u') {
      to = put_utf8(to, read_unicode_escape(&at, end));
    } else {
      *to++ = simple_escape(at[1]);
      at += 2;
    }
  }
  const auto size = static_cast<size_t>(to - start);
  arena.shrink_last(literal.size() - size);
  return {start, size};
}

bool escapes_are_valid(std::string_view text) {
  for (size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at)) {
    if (at + 1 >= text.size()) return false;
    if (is_simple_escape(text[at + 1])) {
      at += 2;
    } else if (text[at + 1] == 'u' && at + 6 <= text.size() && hex4(text.data() + at + 2) >= 0) {
      at += 6;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace weir::event
