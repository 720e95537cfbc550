#include "storage/base/utf8.h"

namespace weir {

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

std::string_view printable_utf8(std::string_view text, std::string* work) {
  size_t good = 0;
  const auto next = [&]() -> size_t {
    uint32_t code_point = 0;
    const size_t length = utf8_sequence(text.substr(good), &code_point);
    return code_point == 0 ? 0 : length;
  };
  while (good < text.size()) {
    const size_t length = next();
    if (length == 0) break;
    good += length;
  }
  if (good == text.size()) return text;
  work->assign(text.substr(0, good));
  while (good < text.size()) {
    const size_t length = next();
    *work += length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(good, length);
    good += length == 0 ? 1 : length;
  }
  return *work;
}

}  // namespace weir
