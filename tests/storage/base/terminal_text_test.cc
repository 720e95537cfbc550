#include "storage/base/terminal_text.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(TerminalText, LetsOrdinaryTextOfAnyScriptThrough) {
  EXPECT_EQ(terminal_text("Kaffee für 3 €, 珈琲, ☕, قهوة"), "Kaffee für 3 €, 珈琲, ☕, قهوة");
  EXPECT_EQ(terminal_text(""), "");
}

TEST(TerminalText, NothingCanMoveTheCursorOrSetATitle) {
  EXPECT_EQ(terminal_text("\x1b[2J\x1b]0;owned\x07\r\n\t"), "?[2J?]0;owned????");
  EXPECT_EQ(terminal_text("a\x7f"
                          "b"),
            "a?b");
  // The same controls as single C1 characters, in UTF-8 and as raw bytes.
  EXPECT_EQ(terminal_text("\xc2\x9b"
                          "31m"),
            "?31m");
  EXPECT_EQ(terminal_text("\x9b"
                          "31m"),
            "?31m");
  EXPECT_EQ(terminal_text(std::string_view("nul\0end", 7)), "nul?end");
}

TEST(TerminalText, NothingCanTurnTheReadingDirectionOrHide) {
  EXPECT_EQ(terminal_text("exe\xe2\x80\xae"
                          "txt"),
            "exe?txt");  // U+202E
  EXPECT_EQ(terminal_text("\xe2\x81\xa6"
                          "x\xe2\x81\xa9"),
            "?x?");  // U+2066, U+2069
  EXPECT_EQ(terminal_text("zero\xe2\x80\x8bwidth"), "zero?width");
  EXPECT_EQ(terminal_text("line\xe2\x80\xa8separator"), "line?separator");
  EXPECT_EQ(terminal_text("\xf3\xa0\x81\x81tag"), "?tag");
}

TEST(TerminalText, InvalidUtf8IsShownByteByByte) {
  EXPECT_EQ(terminal_text("\xff\xfe"), "??");
  EXPECT_EQ(terminal_text("\xc0\xaf"), "??");       // overlong '/'
  EXPECT_EQ(terminal_text("\xed\xa0\x80"), "???");  // a surrogate
  EXPECT_EQ(terminal_text("\xe2\x82"), "??");       // cut off
}

TEST(TerminalText, IsCutByCharactersNotBytes) {
  EXPECT_EQ(terminal_text("äöü", 3), "äöü");
  EXPECT_EQ(terminal_text("äöüß", 3), "äö…");
  EXPECT_EQ(terminal_text("abc", 0), "");
}

}  // namespace
}  // namespace weir
