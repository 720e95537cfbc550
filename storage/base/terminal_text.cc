#include "storage/base/terminal_text.h"

#include <cstdint>

namespace weir {
namespace {

constexpr uint32_t kInvalid = 0;

// Takes one code point off the front; kInvalid for a byte that begins none (RFC 3629: no overlong
// forms, no surrogates). *size: the bytes it took.
uint32_t take(std::string_view text, size_t* size) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  *size = 1;
  const uint32_t lead = byte(0);
  if (lead < 0x80) return lead;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return kInvalid;
  uint32_t point = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return kInvalid;
    point = point << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLowest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLowest[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
    return kInvalid;
  *size = length;
  return point;
}

bool shows(uint32_t point) {
  const auto in = [&](uint32_t first, uint32_t last) { return point >= first && point <= last; };
  return !(point < 0x20 || in(0x7f, 0x9f) || point == 0xad || point == 0x61c ||
           in(0x200b, 0x200f) || in(0x2028, 0x202e) || in(0x2060, 0x206f) || point == 0xfeff ||
           in(0xfff9, 0xfffb) || in(0xe0000, 0xe007f));
}

}  // namespace

std::string terminal_text(std::string_view text, size_t max_chars) {
  std::string out;
  size_t chars = 0;
  size_t before_last = 0;  // of out, where the last character that fits begins
  while (!text.empty()) {
    if (chars == max_chars) {
      out.resize(before_last);
      if (max_chars > 0) out += "…";
      break;
    }
    size_t size = 1;
    const uint32_t point = take(text, &size);
    before_last = out.size();
    if (shows(point))
      out += text.substr(0, size);
    else
      out.push_back('?');
    text.remove_prefix(size);
    ++chars;
  }
  return out;
}

}  // namespace weir
