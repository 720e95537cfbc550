// The dashboard's files and its sign-in.
#include "collector/admin/dashboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::admin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kBossHash =
    "a5e7c002443743c5836758c7d1cd8ddefd9fcf2061daa0efaac683fb99966057";
const http::Header kHost{"Host", "edge:9090"};
const http::Header kOrigin{"Origin", "http://edge:9090"};

http::Request request(std::string_view path, std::vector<http::Header> headers = {kHost}) {
  http::Request out;
  out.path = path;
  out.headers = std::move(headers);
  return out;
}

class DashboardTest : public ::testing::Test {
 protected:
  AccessTable access_{
      std::vector<TokenOptions>{{"boss", std::string(kBossHash), "admin", {}, {}, {}}}};
  Dashboard dashboard_{3'600'000};
};

TEST_F(DashboardTest, HoldsThePageAndWhatItNames) {
  ASSERT_TRUE(dashboard_.serves("/"));
  EXPECT_FALSE(dashboard_.serves("/assets/"));
  EXPECT_FALSE(dashboard_.serves("/assets/app.js/"));
  const Reply page = dashboard_.asset(request("/"));
  EXPECT_THAT(page.content_type, HasSubstr("text/html"));
  for (const std::string path : {"/assets/app.js", "/assets/app.css", "/assets/icon.svg"}) {
    EXPECT_TRUE(dashboard_.serves(path)) << path;
    EXPECT_THAT(page.body, HasSubstr("\"" + path + "\""));
    EXPECT_GT(dashboard_.asset(request(path)).body.size(), 100u) << path;
  }
  EXPECT_LT(dashboard_.asset(request("/assets/app.js")).body.size(), 160u << 10) << "small";
}

TEST_F(DashboardTest, AFileTheClientHasIsNotSentAgain) {
  const Reply first = dashboard_.asset(request("/assets/app.js"));
  const size_t at = first.headers.find("ETag: ") + 6;
  const std::string etag = first.headers.substr(at, first.headers.find("\r\n", at) - at);
  for (const std::string& condition : {etag, "W/" + etag, "\"x\", " + etag}) {
    const Reply again =
        dashboard_.asset(request("/assets/app.js", {kHost, {"If-None-Match", condition}}));
    EXPECT_EQ(again.status, 304) << condition;
    EXPECT_EQ(again.body, "");
    EXPECT_THAT(again.headers, HasSubstr(etag));
  }
  EXPECT_EQ(dashboard_.asset(request("/", {kHost, {"If-None-Match", etag}})).status, 200);
}

TEST_F(DashboardTest, ItsPolicyAllowsNothingInlineNothingForeignAndNoFrame) {
  const std::string headers = dashboard_.asset(request("/")).headers;
  EXPECT_THAT(headers, HasSubstr("default-src 'none'; script-src 'self'; style-src 'self'"));
  EXPECT_THAT(headers, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(headers, HasSubstr("require-trusted-types-for 'script'"));
  EXPECT_THAT(headers, Not(HasSubstr("unsafe")));
}

TEST_F(DashboardTest, SigningInTakesAnAdminsTokenFromTheOwnPage) {
  const auto sign_in = [&](std::vector<http::Header> headers) {
    return dashboard_.sign_in(access_, request("/api/v1/session", std::move(headers)), 0);
  };
  EXPECT_EQ(sign_in({kHost, {"Authorization", "Bearer boss"}}).status, 403);
  EXPECT_EQ(sign_in({kHost, kOrigin}).status, 400);
  const Reply wrong = sign_in({kHost, kOrigin, {"Authorization", "Bearer wrong"}});
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(wrong.headers, "") << "the browser must not ask by itself";
  EXPECT_EQ(dashboard_.sessions().size(), 0u);
  const Reply done = sign_in({kHost, kOrigin, {"Authorization", "Bearer boss"}});
  EXPECT_EQ(done.status, 200);
  const size_t at = done.headers.find("weir_session");
  const std::string cookie = done.headers.substr(at, done.headers.find(';') - at);
  const http::Request back = request("/api/v1/session", {kHost, {"Cookie", cookie}});
  EXPECT_EQ(dashboard_.session(access_, back, 1).body,
            R"({"open":false,"signed_in":true,"name":"boss"})");
  EXPECT_THAT(
      dashboard_
          .session(AccessTable({{"other", std::string(64, 'a'), "admin", {}, {}, {}}}), back, 1)
          .body,
      HasSubstr(R"("signed_in":false)"))
      << "the token was taken away";
  EXPECT_THAT(dashboard_.sign_out(back).headers, HasSubstr("Max-Age=0"));
  EXPECT_THAT(dashboard_.session(access_, back, 1).body, HasSubstr(R"("signed_in":false)"));
}

TEST_F(DashboardTest, WithoutTokensThereIsNothingToSignInTo) {
  const AccessTable open({});
  EXPECT_EQ(dashboard_.sign_in(open, request("/api/v1/session", {kHost, kOrigin}), 0).status, 409);
  EXPECT_THAT(dashboard_.session(open, request("/api/v1/session"), 0).body,
              HasSubstr(R"("open":true)"));
}

}  // namespace
}  // namespace weir::admin
