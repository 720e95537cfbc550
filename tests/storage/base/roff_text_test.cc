#include "storage/base/roff_text.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(RoffText, NothingIsTakenForARequestOrAnEscape) {
  EXPECT_EQ(roff_text(".SH not a heading"), "\\&.SH not a heading");
  EXPECT_EQ(roff_text("'tis"), "\\&'tis");
  EXPECT_EQ(roff_text("two\n.lines"), "two\n\\&.lines");
  EXPECT_EQ(roff_text("C:\\n \"quoted\""), "C:\\en \\(dqquoted\\(dq");
  EXPECT_EQ(roff_text("--set a.b"), "\\-\\-set a.b");
}

}  // namespace
}  // namespace weir
