// Sessions of the dashboard: what a cookie stands for, for how long, and for whom.
#include "collector/admin/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::admin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

http::Request request(std::vector<http::Header> headers) {
  http::Request out;
  out.headers = std::move(headers);
  return out;
}

TEST(Sessions, AnIdStandsForItsTokenUntilItsTimeIsOver) {
  Sessions sessions(1'000);
  const std::string id = sessions.begin(hash_of("token"), 5'000);
  EXPECT_EQ(id.size(), 64u);
  EXPECT_EQ(sessions.find(id, 5'999), hash_of("token"));
  EXPECT_EQ(sessions.find(id, 6'000), std::nullopt);
  EXPECT_EQ(sessions.find(id.substr(1), 5'000), std::nullopt);
  EXPECT_EQ(sessions.find("", 5'000), std::nullopt);
}

TEST(Sessions, SignedOutItIsNothing) {
  Sessions sessions(1'000);
  const std::string id = sessions.begin(hash_of("token"), 0);
  sessions.end(id);
  EXPECT_EQ(sessions.find(id, 0), std::nullopt);
}

TEST(Sessions, TheyAreBoundedAndTheOldestGoesFirst) {
  Sessions sessions(1'000'000);
  const std::string first = sessions.begin(hash_of("token"), 0);
  std::string last;
  for (size_t i = 1; i <= Sessions::kMax; ++i)
    last = sessions.begin(hash_of("token"), static_cast<int64_t>(i));
  EXPECT_EQ(sessions.size(), Sessions::kMax);
  EXPECT_EQ(sessions.find(first, 300), std::nullopt);
  EXPECT_NE(sessions.find(last, 300), std::nullopt);
  sessions.begin(hash_of("token"), 2'000'000);
  EXPECT_EQ(sessions.size(), 1u) << "those that ended are forgotten";
}

TEST(Sessions, TheCookieIsReadByNoScriptAndSentByNoOtherPage) {
  const Sessions sessions(60'000);
  const std::string plain = sessions.set_cookie_line(request({{"Host", "edge:9091"}}), "abc");
  EXPECT_EQ(plain,
            "Set-Cookie: weir_session_9091=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict\r\n");
  EXPECT_THAT(
      sessions.set_cookie_line(request({{"Host", "edge"}, {"Origin", "https://edge"}}), "abc"),
      HasSubstr("weir_session=abc; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"));
  EXPECT_THAT(sessions.set_cookie_line(request({{"Host", "edge"}}), ""), HasSubstr("Max-Age=0"));
  EXPECT_THAT(sessions.set_cookie_line(request({{"Host", "edge:1\"; x=y"}}), "abc"),
              Not(HasSubstr("x=y")));
}

TEST(Sessions, TheCookieIsFoundAmongOthers) {
  const auto id = [](std::string_view host, std::string_view cookie) {
    return std::string(Sessions::id_in(request({{"Host", host}, {"Cookie", cookie}})));
  };
  EXPECT_EQ(id("edge:9091", "a=b; weir_session_9091=abc; c=d"), "abc");
  EXPECT_EQ(id("edge:9091", "weir_session_9090=other;weir_session_9091=abc"), "abc");
  EXPECT_EQ(id("edge", "weir_session_9091=other"), "") << "a node behind another port";
  EXPECT_EQ(id("edge", "weir_session="), "");
  EXPECT_EQ(id("edge", ";;; =; weir_session"), "");
  EXPECT_EQ(id("edge", ""), "");
}

TEST(Sessions, OnlyTheOwnPageIsTheSameOrigin) {
  EXPECT_TRUE(is_same_origin(request({{"Host", "edge:9090"}, {"Origin", "http://edge:9090"}})));
  EXPECT_TRUE(is_same_origin(request({{"Host", "edge"}, {"Sec-Fetch-Site", "same-origin"}})));
  EXPECT_FALSE(is_same_origin(request({{"Host", "edge"}, {"Sec-Fetch-Site", "same-site"}})));
  EXPECT_FALSE(is_same_origin(
      request({{"Host", "edge"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://edge"}})));
  EXPECT_FALSE(is_same_origin(request({{"Host", "edge"}, {"Origin", "http://evil"}})));
  EXPECT_FALSE(is_same_origin(request({{"Host", "edge"}, {"Origin", "null"}})));
  EXPECT_FALSE(is_same_origin(request({{"Host", "edge"}})));
}

}  // namespace
}  // namespace weir::admin
