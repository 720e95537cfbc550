// The fast search for the end of a container against the plain one, on random text with every
// alignment of quotes and backslashes, resumed at random places.
#include "collector/event/scan.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace weir::event {
namespace {

size_t plain_end(const std::string& text) {
  ContainerScan scan;
  const size_t end = scan_container_plain(scan, text.data(), 0, text.size());
  return scan.depth == 0 ? end : std::string::npos;
}

size_t fast_end(const std::string& text, size_t at, size_t step) {
  ContainerScan scan;
  do {
    const size_t limit = std::min(text.size(), at + step);
    at = scan_container(scan, text.data(), at, limit);
    if (scan.depth == 0) return at;
  } while (at < text.size());
  return std::string::npos;
}

TEST(Scan, FindsTheEndOfContainers) {
  const std::string texts[] = {"{}",
                               "[]",
                               R"({"a":"}"})",
                               R"({"a":"\"}"})",
                               R"({"a":"\\"})",
                               R"([[[{}]]])",
                               R"({"a":"\\\"}]"})"};
  for (const std::string& text : texts) {
    EXPECT_EQ(plain_end(text), text.size()) << text;
    EXPECT_EQ(fast_end(text, 0, 1000), text.size()) << text;
    EXPECT_EQ(fast_end(text + "}]}]", 0, 1000), text.size()) << text;
    EXPECT_EQ(fast_end(text.substr(0, text.size() - 1), 0, 1000), std::string::npos) << text;
  }
}

TEST(Scan, AgreesWithThePlainLoopOnRandomText) {
  std::mt19937 random(11);
  const std::string alphabet = "{}[]\"\\\\\"xxxxxxxx ,:{}[]";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = "{";
    const size_t length = random() % 400;
    for (size_t i = 0; i < length; ++i) text += alphabet[random() % alphabet.size()];
    EXPECT_EQ(fast_end(text, 0, 10'000), plain_end(text)) << text;
    EXPECT_EQ(fast_end(text, 0, 1 + random() % 130), plain_end(text)) << text;
  }
}

TEST(Scan, LongRunsOfBackslashesKeepTheirParity) {
  for (size_t length = 0; length < 200; ++length) {
    const std::string text = R"({"a":")" + std::string(length, '\\') + "\"}";
    EXPECT_EQ(fast_end(text, 0, 10'000), plain_end(text)) << length;
    EXPECT_EQ(fast_end(text, 0, 7), plain_end(text)) << length;
    const size_t quote = text.find('"', 5);
    EXPECT_EQ(scan_string(text.data(), quote, text.size()),
              length % 2 == 0 ? text.size() - 1 : std::string::npos);
  }
}

TEST(Scan, SkipsWhiteSpaceOfAnyLength) {
  for (size_t length = 0; length < 100; ++length) {
    std::string text(length, ' ');
    for (size_t i = 0; i < length; i += 3) text[i] = "\t\r\n"[i % 3];
    EXPECT_EQ(skip_space(text.data(), 0, text.size()), length);
    text += "x   ";
    EXPECT_EQ(skip_space(text.data(), 0, text.size()), length);
  }
}

}  // namespace
}  // namespace weir::event
