#include "collector/admin/query_time.h"

#include <gtest/gtest.h>

namespace weir::admin {
namespace {

constexpr int64_t kNow = 1'800'000'000'000;

TEST(QueryTime, TakesATimestampMillisecondsOrHowLongAgo) {
  EXPECT_EQ(*parse_moment("2023-11-14T22:13:20Z", kNow), 1'700'000'000'000);
  EXPECT_EQ(*parse_moment("1700000000000", kNow), 1'700'000'000'000);
  EXPECT_EQ(*parse_moment("90s", kNow), kNow - 90'000);
  EXPECT_EQ(*parse_moment("15m", kNow), kNow - 900'000);
  EXPECT_EQ(*parse_moment("2h", kNow), kNow - 7'200'000);
  EXPECT_EQ(*parse_moment("7d", kNow), kNow - 604'800'000);
}

TEST(QueryTime, SaysWhatWouldBeATime) {
  for (const char* text : {"", "now", "-5", "3w", "h", "12 h", "99999999999999999999", "\x1b[2J"}) {
    const auto moment = parse_moment(text, kNow);
    ASSERT_FALSE(moment) << text;
    EXPECT_NE(moment.error().message.find("2026-11-20T21:00:00Z"), std::string::npos);
    EXPECT_EQ(moment.error().message.find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace weir::admin
