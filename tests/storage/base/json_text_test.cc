#include "storage/base/json_text.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EscapesWhatJsonAndTerminalsMustNotSee) {
  EXPECT_EQ(quoted("a\"b\\c\n\r\t"), R"("a\"b\\c\n\r\t")");
  EXPECT_EQ(quoted(std::string_view("\0\x1b[31m\x7f", 7)), R"("\u0000\u001b[31m\u007f")");
  EXPECT_EQ(quoted("\xc2\x9b"), R"("\u009b")");
  EXPECT_EQ(quoted("\xe2\x80\xa8"), R"("\u2028")");
}

TEST(JsonString, KeepsValidUtf8AndReplacesTheRest) {
  EXPECT_EQ(quoted("zoë 東京 🚀"), "\"zoë 東京 🚀\"");
  EXPECT_EQ(quoted("a\xff"), R"("a\ufffd")");
  EXPECT_EQ(quoted("\xc0\xaf"), R"("\ufffd\ufffd")");            // overlong
  EXPECT_EQ(quoted("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")");  // surrogate
  EXPECT_EQ(quoted("\xe6\x9d"), R"("\ufffd\ufffd")");            // cut
}

// Eight bytes are looked at together: what a byte becomes does not depend on where it stands.
TEST(JsonString, EveryByteIsWrittenTheSameAtEveryPlace) {
  for (int c = 0; c < 256; ++c) {
    const std::string one(1, static_cast<char>(c));
    std::string alone;
    append_json_string(alone, one);
    const std::string escaped = alone.substr(1, alone.size() - 2);
    for (size_t before = 0; before < 18; ++before) {
      const std::string left(before, '~'), right(17 - before, ' ');
      std::string whole;
      append_json_string(whole, left + one + right);
      EXPECT_EQ(whole, "\"" + left + escaped + right + "\"") << c << " at " << before;
    }
  }
}

}  // namespace
}  // namespace weir
