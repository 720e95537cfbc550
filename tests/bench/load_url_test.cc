#include <gtest/gtest.h>

#include "bench/load/load_options.h"

namespace weir::bench {
namespace {

TEST(LoadUrl, FillsInThePortAndSaysWhetherThereIsAPath) {
  Url url;
  ASSERT_TRUE(parse_url("http://127.0.0.1:8080", &url));
  EXPECT_EQ(url.host, "127.0.0.1");
  EXPECT_EQ(url.port, "8080");
  EXPECT_FALSE(url.has_path);
  ASSERT_TRUE(parse_url("https://edge.example/e?x=1", &url));
  EXPECT_TRUE(url.tls);
  EXPECT_EQ(url.port, "443");
  EXPECT_TRUE(url.has_path);
  EXPECT_EQ(url.path, "/e?x=1");
  ASSERT_TRUE(parse_url("http://[::1]:81/", &url));
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, "81");
}

TEST(LoadUrl, RefusesOtherSchemes) {
  Url url;
  for (const char* text : {"", "127.0.0.1:8080", "ftp://x", "http://", "http://[::1"})
    EXPECT_FALSE(parse_url(text, &url)) << text;
}

}  // namespace
}  // namespace weir::bench
