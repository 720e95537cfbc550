// What browsers need in order to send at all, and to see the answer.
#include <gtest/gtest.h>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

std::string options(const std::string& headers, const std::string& target = "/v1/events") {
  return "OPTIONS " + target + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}
std::string post(const std::string& headers) {
  return "POST /echo HTTP/1.1\r\nHost: x\r\n" + headers + "Content-Length: 2\r\n\r\n{}";
}

TEST(Cors, PreflightsAreAnsweredAndEchoWhatIsAskedFor) {
  Harness harness;
  const std::string answer =
      harness.ask(options("Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n"
                          "Access-Control-Request-Headers: authorization,x-retry-count\r\n"));
  EXPECT_EQ(status_of(answer), 204);
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Origin"), "https://shop.example");
  EXPECT_EQ(header_of(answer, "Vary"), "Origin");
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Credentials"), "true");
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Methods"), "POST");
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Headers"), "authorization,x-retry-count");
  EXPECT_EQ(header_of(answer, "Access-Control-Max-Age"), "86400");
  EXPECT_EQ(header_of(answer, "Connection"), "<none>");
  EXPECT_TRUE(harness.handler.seen.empty()) << "HTTP answers these itself";
}

TEST(Cors, AnswersEchoTheOriginAndExposeRetryAfter) {
  Harness harness;
  const std::string answer = harness.ask(post("Origin: https://shop.example\r\n"));
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Origin"), "https://shop.example");
  EXPECT_EQ(header_of(answer, "Access-Control-Expose-Headers"), "Retry-After, Weir-Ack");
  EXPECT_EQ(header_of(answer, "Vary"), "Origin");
}

TEST(Cors, WithoutAnOriginThereAreNoCorsHeaders) {
  Harness harness;
  EXPECT_EQ(harness.ask(post("")).find("Access-Control"), std::string::npos);
}

TEST(Cors, ErrorsOfHttpItselfAreReadableForTheBrowserToo) {
  Harness harness;
  const std::string answer =
      harness.ask(post("Origin: https://shop.example\r\nContent-Encoding: br\r\n"));
  EXPECT_EQ(status_of(answer), 415);
  EXPECT_EQ(header_of(answer, "Access-Control-Allow-Origin"), "https://shop.example");
}

TEST(Cors, ForeignOriginsGet403WithoutPermission) {
  for (const std::string& request :
       {post("Origin: https://evil.example\r\n"),
        options("Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n")}) {
    Harness harness;
    FakeStream& client = harness.connect();
    harness.send(client, request);
    EXPECT_EQ(status_of(client.output), 403);
    EXPECT_NE(client.output.find("origin_not_allowed"), std::string::npos);
    EXPECT_EQ(client.output.find("Access-Control"), std::string::npos);
    EXPECT_TRUE(harness.handler.seen.empty());
    EXPECT_FALSE(client.closing());
  }
}

TEST(Cors, OriginsThatCannotBeEchoedAreForeign) {
  Harness harness;
  EXPECT_EQ(status_of(harness.ask(post("Origin: https://a b\r\n"))), 403);
  EXPECT_EQ(status_of(harness.ask(post("Origin: h\xc3\xa9\r\n"))), 403);
  EXPECT_EQ(status_of(harness.ask(post("Origin:\r\n"))), 403);
  EXPECT_EQ(status_of(harness.ask(post("Origin: https://a\r\nOrigin: https://b\r\n"))), 403);
}

TEST(Cors, PlainOptionsTellTheMethods) {
  Harness harness;
  for (const char* target : {"*", "/v1/events"}) {
    const std::string answer = harness.ask(options("", target));
    EXPECT_EQ(status_of(answer), 204);
    EXPECT_NE(header_of(answer, "Allow").find("POST"), std::string::npos);
  }
}

TEST(Cors, TheWebhookHandshakeGoesToTheHandler) {
  Harness harness;
  EXPECT_EQ(status_of(harness.ask(options("WebHook-Request-Origin: sender.example\r\n"))), 200);
  EXPECT_EQ(harness.handler.seen.size(), 1u);
}

TEST(Cors, APreflightWithABodyIsSkippedExactly) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, options("Content-Length: 4\r\n") + "abcd" + post(""));
  EXPECT_EQ(status_of(client.output), 204);
  EXPECT_EQ(harness.handler.seen.size(), 1u);
}

}  // namespace
}  // namespace weir::http
