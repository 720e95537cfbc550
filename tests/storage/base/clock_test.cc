#include "storage/base/clock.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Rfc3339, WritesAndReadsBackMilliseconds) {
  for (int64_t ms :
       {int64_t{0}, int64_t{951'782'400'123}, int64_t{1'795'000'000'999}, int64_t{-1}}) {
    int64_t parsed = 42;
    ASSERT_TRUE(parse_rfc3339_ms(format_rfc3339_ms(ms), &parsed)) << format_rfc3339_ms(ms);
    EXPECT_EQ(parsed, ms);
  }
  EXPECT_EQ(format_rfc3339_ms(951'782'400'123), "2000-02-29T00:00:00.123Z");
}

TEST(Rfc3339, AcceptsOffsetsFractionsAndLowerCase) {
  int64_t ms = 0;
  ASSERT_TRUE(parse_rfc3339_ms("2026-11-20t21:00:00.5+01:30", &ms));
  EXPECT_EQ(format_rfc3339_ms(ms), "2026-11-20T19:30:00.500Z");
  ASSERT_TRUE(parse_rfc3339_ms("2026-11-20 21:00:00.123456789z", &ms));
  EXPECT_EQ(format_rfc3339_ms(ms), "2026-11-20T21:00:00.123Z");
}

TEST(Rfc3339, RefusesWhatIsNotATimestamp) {
  int64_t ms = 7;
  for (const char* text :
       {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00+1"})
    EXPECT_FALSE(parse_rfc3339_ms(text, &ms)) << text;
  EXPECT_EQ(ms, 7);
}

}  // namespace
}  // namespace weir
