#include "storage/base/json_text.h"

#include <cstdint>

namespace weir {
namespace {

// The length of the valid UTF-8 sequence at the start of text (RFC 3629), 0 when there is none.
size_t utf8_sequence(std::string_view text, uint32_t* code_point) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  size_t length = 0;
  uint32_t value = 0;
  uint32_t lowest = 0;
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  } else if (lead >= 0xc2 && lead < 0xe0) {
    length = 2, value = lead & 0x1fu, lowest = 0x80;
  } else if (lead >= 0xe0 && lead < 0xf0) {
    length = 3, value = lead & 0x0fu, lowest = 0x800;
  } else if (lead >= 0xf0 && lead < 0xf5) {
    length = 4, value = lead & 0x07u, lowest = 0x10000;
  } else {
    return 0;
  }
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
    value = value << 6 | (at(i) & 0x3fu);
  }
  if (value < lowest || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return 0;
  *code_point = value;
  return length;
}

void append_unicode_escape(std::string& out, uint32_t unit) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[unit >> shift & 15]);
}

bool is_plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    size_t plain = 0;
    while (plain < text.size() && is_plain(static_cast<unsigned char>(text[plain]))) ++plain;
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
