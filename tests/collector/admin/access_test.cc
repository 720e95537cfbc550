// Who gets in: tokens and roles, and without tokens only this machine.
#include "collector/admin/access.h"

#include <gtest/gtest.h>

namespace weir::admin {
namespace {

http::Request request(std::vector<http::Header> headers) {
  http::Request out;
  out.headers = std::move(headers);
  return out;
}

int status(const AccessTable& table, std::vector<http::Header> headers, Need need = Need::kAdmin) {
  return table.check(request(std::move(headers)), need).status;
}

// SHA-256 of "abc" (FIPS 180-4, appendix B.1).
const std::string kOther(64, 'a');
constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Access, ATokenIsComparedByItsHash) {
  const AccessTable table({{"ops", kAbc, "admin", {}, {}, {}}});
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}), 0);
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abd"}}), 401);
  EXPECT_EQ(status(table, {{"Authorization", "Bearer "}}), 401);
  EXPECT_EQ(status(table, {{"Authorization", "Basic YWJj"}}), 401);
  EXPECT_EQ(status(table, {}), 401);
}

TEST(Access, TheHashMayBeUpperCase) {
  std::string upper = kAbc;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const AccessTable table({{"ops", upper, "admin", {}, {}, {}}});
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}), 0);
}

TEST(Access, AMetricsTokenReadsMetricsOnly) {
  const AccessTable table(
      {{"ops", kOther, "admin", {}, {}, {}}, {"prometheus", kAbc, "metrics", {}, {}, {}}});
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}, Need::kMetrics), 0);
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}, Need::kAdmin), 403);
}

TEST(Access, APullerPullsAndNothingElseAndIsNamed) {
  const AccessTable table({{"boss", kOther, "admin", {}, {}, {"ignored"}},
                           {"central", kAbc, "puller", {"acme"}, {}, {"main"}}});
  Caller caller;
  EXPECT_EQ(table.check(request({{"Authorization", "Bearer abc"}}), Need::kPuller, &caller).status,
            0);
  EXPECT_EQ(caller.name, "central");
  EXPECT_EQ(caller.tenants, std::vector<std::string>{"acme"});
  EXPECT_EQ(caller.consumers, std::vector<std::string>{"main"});
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}, Need::kAdmin), 403);
  EXPECT_EQ(status(table, {{"Authorization", "Bearer abc"}}, Need::kMetrics), 403);
}

TEST(Access, LivezNeedsNothing) {
  const AccessTable table({{"ops", kAbc, "admin", {}, {}, {}}});
  EXPECT_EQ(status(table, {}, Need::kNothing), 0);
}

TEST(OpenAccess, ServesLoopbackHostsOnly) {
  const AccessTable table({});
  EXPECT_EQ(status(table, {{"Host", "127.0.0.1:9090"}}), 0);
  EXPECT_EQ(status(table, {{"Host", "localhost"}}), 0);
  EXPECT_EQ(status(table, {{"Host", "[::1]:9090"}}), 0);
  EXPECT_EQ(status(table, {{"Host", "attacker.example"}}), 403);
  EXPECT_EQ(status(table, {{"Host", "127.attacker.example"}}), 403);
  EXPECT_EQ(status(table, {{"Host", "localhost.attacker.example"}}), 403);
  EXPECT_EQ(status(table, {}), 403);
}

TEST(OpenAccess, RefusesWhatWasForwarded) {
  const AccessTable table({});
  http::Request forwarded = request({{"Host", "localhost"}});
  forwarded.forwarding_header_present = true;
  EXPECT_EQ(table.check(forwarded, Need::kAdmin).status, 403);
}

TEST(OpenAccess, RefusesPagesOfOtherOrigins) {
  const AccessTable table({});
  EXPECT_EQ(status(table, {{"Host", "localhost:9090"}, {"Origin", "http://localhost:9090"}}), 0);
  EXPECT_EQ(status(table, {{"Host", "localhost:9090"}, {"Origin", "http://localhost:3000"}}), 403);
  EXPECT_EQ(status(table, {{"Host", "localhost:9090"}, {"Origin", "null"}}), 403);
}

}  // namespace
}  // namespace weir::admin
