#include "storage/base/json_text.h"

#include <cstdint>

#include "storage/base/bytes.h"
#include "storage/base/utf8.h"

namespace weir {
namespace {

void append_unicode_escape(std::string& out, uint32_t unit) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[unit >> shift & 15]);
}

bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

// Whether each of eight bytes is plain, without a branch per byte ("Bit Twiddling Hacks", haszero).
bool all_plain(const char* bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  const auto word = load_le<uint64_t>(bytes);
  const auto equal_to = [&](uint64_t c) {
    const uint64_t zero_where_equal = word ^ kOnes * c;
    return (zero_where_equal - kOnes) & ~zero_where_equal;
  };
  const uint64_t below_space = (word - kOnes * 0x20) & ~word;
  return ((word | below_space | equal_to('"') | equal_to('\\') | equal_to(0x7f)) & kHighs) == 0;
}

size_t plain_prefix(std::string_view text) {
  size_t plain = 0;
  while (plain + 8 <= text.size() && all_plain(text.data() + plain)) plain += 8;
  while (plain < text.size() && is_plain(static_cast<unsigned char>(text[plain]))) ++plain;
  return plain;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const size_t plain = plain_prefix(text);
    out.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    uint32_t code_point = 0;
    const size_t length = utf8_sequence(text, &code_point);
    if (length == 0) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    switch (code_point) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0) ||
            code_point == 0x2028 || code_point == 0x2029)
          append_unicode_escape(out, code_point);
        else
          out.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out.push_back('"');
}

}  // namespace weir
