// Every type accepts what people write, refuses the rest, and prints to what reads back the same.
#include "collector/options/value.h"

#include <gtest/gtest.h>

namespace weir::options {
namespace {

RawValue text(std::string value, bool from_text = false) {
  RawValue raw;
  raw.from_text = from_text;
  raw.text = std::move(value);
  return raw;
}

RawValue integer(int64_t value) {
  RawValue raw;
  raw.kind = RawValue::Kind::kInteger;
  raw.integer = value;
  return raw;
}

TEST(Size, UnitsAreBinaryWithIAndDecimalWithout) {
  EXPECT_EQ(*parse_size("0"), 0);
  EXPECT_EQ(*parse_size("1024"), 1024);
  EXPECT_EQ(*parse_size("256MiB"), 256 << 20);
  EXPECT_EQ(*parse_size("2 GiB"), int64_t{2} << 30);
  EXPECT_EQ(*parse_size("20GB"), 20'000'000'000);
  EXPECT_EQ(*parse_size("5kB"), 5000);
  EXPECT_EQ(*parse_size("7B"), 7);
}

TEST(Size, NonsenseIsRefused) {
  for (const char* bad :
       {"", "MiB", "-1", "1.5GiB", "12 parsecs", "99999999999999999999", "9999999TiB", "1GiBx"})
    EXPECT_FALSE(parse_size(bad).has_value()) << bad;
}

TEST(Duration, UnitsAddUp) {
  EXPECT_EQ(*parse_duration_ms("200ms"), 200);
  EXPECT_EQ(*parse_duration_ms("5m"), 300'000);
  EXPECT_EQ(*parse_duration_ms("7d"), 7 * 86'400'000);
  EXPECT_EQ(*parse_duration_ms("1h30m"), 5'400'000);
  EXPECT_EQ(*parse_duration_ms("0"), 0);
}

TEST(Duration, NonsenseIsRefused) {
  for (const char* bad : {"", "5", "m", "-5m", "5 minutes", "1.5h", "99999999999999d", "5mm"})
    EXPECT_FALSE(parse_duration_ms(bad).has_value()) << bad;
}

TEST(Duration, ABareNumberNeedsItsUnit) {
  EXPECT_FALSE(to_value(Type::kDuration, integer(5)).has_value());
  EXPECT_FALSE(to_value(Type::kDuration, text("5", true)).has_value());
  EXPECT_EQ(to_value(Type::kDuration, integer(0))->number, 0);
}

TEST(Seconds, AreNumbersOrDurations) {
  EXPECT_EQ(to_value(Type::kSeconds, integer(10))->number, 10'000);
  EXPECT_EQ(to_value(Type::kSeconds, text("10", true))->number, 10'000);
  EXPECT_EQ(to_value(Type::kSeconds, text("2m"))->number, 120'000);
  EXPECT_FALSE(to_value(Type::kSeconds, integer(INT64_MAX)).has_value());
}

TEST(Bool, InTheFileOnlyTrueAndFalse) {
  EXPECT_FALSE(to_value(Type::kBool, text("true")).has_value());
  EXPECT_TRUE(to_value(Type::kBool, text("yes", true))->boolean);
  EXPECT_FALSE(to_value(Type::kBool, text("off", true))->boolean);
  EXPECT_FALSE(to_value(Type::kBool, text("maybe", true)).has_value());
}

TEST(Integer, TextIsRefusedInTheFileAndTakenFromTheEnvironment) {
  EXPECT_FALSE(to_value(Type::kInteger, text("5")).has_value());
  EXPECT_EQ(to_value(Type::kInteger, text("5", true))->number, 5);
  EXPECT_EQ(to_value(Type::kInteger, text("-5", true))->number, -5);
  EXPECT_FALSE(to_value(Type::kInteger, text("5x", true)).has_value());
}

TEST(List, CommasInTheEnvironment) {
  const auto value = to_value(Type::kList, text("a, b,,c", true));
  EXPECT_EQ(value->list, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_FALSE(to_value(Type::kList, text("a,b")).has_value());
}

TEST(Map, EqualsInTheEnvironment) {
  const auto value = to_value(Type::kMap, text("a=1,b=x=y", true));
  ASSERT_EQ(value->map.size(), 2u);
  EXPECT_EQ(value->map[1].second, "x=y");
  EXPECT_FALSE(to_value(Type::kMap, text("=1", true)).has_value());
}

TEST(Toml, LiteralsAreWrittenWithTheLargestUnit) {
  Value value;
  value.number = 256 << 20;
  EXPECT_EQ(to_toml(Type::kSize, value), "\"256MiB\"");
  value.number = 1000;
  EXPECT_EQ(to_toml(Type::kSize, value), "1000");
  EXPECT_EQ(to_toml(Type::kDuration, value), "\"1s\"");
  EXPECT_EQ(to_toml(Type::kSeconds, value), "1");
  value.number = 1500;
  EXPECT_EQ(to_toml(Type::kSeconds, value), "\"1500ms\"");
  value.text = "say \"hi\"\n";
  EXPECT_EQ(to_toml(Type::kText, value), "\"say \\\"hi\\\"\\n\"");
}

}  // namespace
}  // namespace weir::options
