// Patterns: the table form must decide exactly as std::regex does; what it cannot express goes to
// std::regex.
#include "collector/event/pattern.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <string>

namespace weir::event {
namespace {

TEST(Pattern, SimplePatternsBecomeTables) {
  for (const char* text : {"[A-Za-z0-9_.:-]{1,128}", "^[A-Z]{2}-\\d+$", "abc", "CMP-[0-9]{4,8}",
                           "[a-z]+\\.[0-9]*x?", "\\w{3}", "[-_a]+", "[\\w-]+", "a?b*c+d{2,}"}) {
    const auto pattern = Pattern::compile(text);
    ASSERT_TRUE(pattern.has_value()) << text;
    EXPECT_TRUE(pattern->is_table()) << text;
  }
  for (const char* text :
       {"a|b", "(ab)+", "[^x]+", ".*", "a+?", "[a-z]*[a-c]", "\\bx", "\xc3\xa9"}) {
    const auto pattern = Pattern::compile(text);
    ASSERT_TRUE(pattern.has_value()) << text;
    EXPECT_FALSE(pattern->is_table()) << text;
  }
}

TEST(Pattern, BrokenPatternsAreErrors) {
  for (const char* text : {"[a-", "(", "a{2,1}", "*", "[z-a]"})
    EXPECT_FALSE(Pattern::compile(text).has_value()) << text;
}

TEST(Pattern, DecidesAsStdRegexDoes) {
  std::mt19937 random(1);
  const std::string alphabet = "aAbB09-_.x:";
  for (const char* text :
       {"[A-Za-z0-9_.:-]{1,8}", "^[A-Z]{2}-\\d+$", "CMP-[0-9]{4,8}", "[a-z]+\\.[0-9]*x?", "\\w{3}",
        "a?b*[0-9]+x{2,}", "[a-b]{0,2}[A-B]{1,3}-?[0-9]*", "", "(a|b)+", "[^a]*"}) {
    const auto pattern = Pattern::compile(text);
    ASSERT_TRUE(pattern.has_value()) << text;
    const std::regex regex(text);
    for (int round = 0; round < 3'000; ++round) {
      std::string value;
      const size_t length = random() % 9;
      for (size_t i = 0; i < length; ++i) value += alphabet[random() % alphabet.size()];
      EXPECT_EQ(pattern->matches(value), std::regex_match(value, regex)) << text << " " << value;
    }
  }
}

TEST(Pattern, TheDefaultTakesOrdinaryIdentifiersUpTo128Bytes) {
  const Pattern& pattern = Pattern::default_pattern();
  EXPECT_TRUE(pattern.matches("spring_2026:a.b-c"));
  EXPECT_TRUE(pattern.matches(std::string(128, 'x')));
  EXPECT_FALSE(pattern.matches(std::string(129, 'x')));
  EXPECT_FALSE(pattern.matches(""));
  EXPECT_FALSE(pattern.matches("a b"));
  EXPECT_FALSE(pattern.matches("\xc3\xa9"));
}

TEST(Pattern, LongValuesAreInvalidWithoutLooking) {
  const auto pattern = Pattern::compile("(x+x+)+y");
  ASSERT_TRUE(pattern.has_value());
  EXPECT_FALSE(pattern->matches(std::string(10'000, 'x')));
}

}  // namespace
}  // namespace weir::event
