#include "forwarder/compression.h"

#include <gtest/gtest.h>

#include "tests/forwarder/inflate.h"

namespace weir::forwarder {
namespace {

std::string events_text(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i)
    text += fmt::format(R"({{"id":"e{}","name":"page_view","n":{}}},)", i, i * 7919 % 1000);
  text.resize(bytes);
  return text;
}

std::string expand(Compression compression, const std::string& body) {
  if (compression == Compression::kGzip) return testing::gunzip(body);
  if (compression == Compression::kZstd) return testing::unzstd(body);
  return body;
}

TEST(Compression, RoundTripsAndShrinks) {
  for (const auto compression : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    auto compressor = Compressor::make(compression);
    ASSERT_TRUE(compressor);
    std::string body = "left over";
    for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{1'000'000}}) {
      const std::string text = events_text(size);
      ASSERT_TRUE((*compressor)->compress(text, &body));
      EXPECT_EQ(expand(compression, body), text);
      if (size > 1000 && compression != Compression::kNone) {
        EXPECT_LT(body.size(), size / 4);
      }
    }
  }
}

TEST(Compression, TheSameInputGivesTheSameBytes) {
  for (const auto compression : {Compression::kGzip, Compression::kZstd}) {
    auto one = Compressor::make(compression);
    auto two = Compressor::make(compression);
    std::string first, second;
    const std::string text = events_text(50'000);
    ASSERT_TRUE((*one)->compress("something before", &first));
    ASSERT_TRUE((*one)->compress(text, &first));
    ASSERT_TRUE((*two)->compress(text, &second));
    EXPECT_EQ(first, second);
  }
}

TEST(Compression, NamesItsContentEncoding) {
  EXPECT_EQ(content_encoding(Compression::kNone), "");
  EXPECT_EQ(content_encoding(Compression::kGzip), "gzip");
  EXPECT_EQ(content_encoding(Compression::kZstd), "zstd");
}

}  // namespace
}  // namespace weir::forwarder
