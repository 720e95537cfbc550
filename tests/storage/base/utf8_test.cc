#include "storage/base/utf8.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

std::string printable(std::string_view text) {
  std::string work;
  return std::string(printable_utf8(text, &work));
}

TEST(Utf8, ValidTextIsNotCopied) {
  const std::string_view text = "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n";
  std::string work;
  EXPECT_EQ(printable_utf8(text, &work).data(), text.data());
  EXPECT_EQ(printable(""), "");
}

TEST(Utf8, WhatIsNoneBecomesAReplacementCharacter) {
  const std::string replaced = "\xef\xbf\xbd";
  EXPECT_EQ(printable(std::string_view("\0", 1)), replaced);
  EXPECT_EQ(printable("\xff"), replaced);
  EXPECT_EQ(printable("a\xe9z"), "a" + replaced + "z");
  EXPECT_EQ(printable("\xed\xa0\xbd"), replaced + replaced + replaced);  // half a surrogate pair
  EXPECT_EQ(printable("\xc0\xaf"), replaced + replaced);                 // overlong
  EXPECT_EQ(printable("\xc3"), replaced);                                // cut off
  EXPECT_EQ(printable("\xff\xc3\xb6\xff"), replaced + "\xc3\xb6" + replaced);
}

}  // namespace
}  // namespace weir
