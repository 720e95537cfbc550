#include "collector/http/base64.h"

#include <gtest/gtest.h>

namespace weir::http {
namespace {

std::string decoded(std::string_view text) {
  std::string out;
  return base64_decode(text, out) ? out : "<refused>";
}

TEST(Base64, DecodesBothAlphabetsWithAndWithoutPadding) {
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zg"), "f");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decoded("-_-_"), decoded("+/+/"));
}

TEST(Base64, RefusesWhatNoEncoderWrites) {
  for (const char* text : {"Z", "Zg=", "Z===", "Zm9v=", "Zm 9v", "Zg==Zg==", "Zm9v\n", "é"})
    EXPECT_EQ(decoded(text), "<refused>") << text;
}

TEST(Base64, RefusalLeavesOutputUnchanged) {
  std::string out = "before";
  EXPECT_FALSE(base64_decode("Zm9v!!!!", out));
  EXPECT_EQ(out, "before");
}

TEST(Base64, RoundTripsEveryLength) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    std::string text;
    append_base64(text, bytes);
    EXPECT_EQ(decoded(text), bytes);
    bytes.push_back(static_cast<char>(i * 7));
  }
}

TEST(Authorization, BasicGivesUserAndPassword) {
  BasicCredentials credentials;
  ASSERT_TRUE(parse_basic_auth("Basic d3JpdGVLZXk6", credentials));
  EXPECT_EQ(credentials.user, "writeKey");
  EXPECT_EQ(credentials.password, "");
  ASSERT_TRUE(parse_basic_auth("bAsIc  dTpwOnE=", credentials));
  EXPECT_EQ(credentials.user, "u");
  EXPECT_EQ(credentials.password, "p:q");
  for (const char* text : {"", "Basic", "Basic ", "Basicd3Jp", "Bearer d3Jp", "Basic ???"})
    EXPECT_FALSE(parse_basic_auth(text, credentials)) << text;
}

TEST(Authorization, BearerIsAViewOfTheToken) {
  std::string_view token;
  ASSERT_TRUE(parse_bearer_auth("Bearer abc.def", token));
  EXPECT_EQ(token, "abc.def");
  EXPECT_FALSE(parse_bearer_auth("Basic abc", token));
  EXPECT_FALSE(parse_bearer_auth("Bearer ", token));
}

}  // namespace
}  // namespace weir::http
