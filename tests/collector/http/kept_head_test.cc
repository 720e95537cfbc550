// A head equal to the one before but for its length is not parsed again: nothing that is seen,
// answered or refused may depend on that. Each request is asked after another one, on the same
// connection or on a new one, and alone.
#include <gtest/gtest.h>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

std::string post(std::string_view length, std::string_view body, std::string_view headers = "") {
  std::string request = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ";
  return request.append(length).append("\r\n").append(headers).append("\r\n").append(body);
}

// Last answer of a connection that sent `first` (if any) and then `second` as one piece each.
std::string after(const std::string& first, const std::string& second, bool same_connection) {
  Harness harness;
  FakeStream* stream = &harness.connect();
  if (!first.empty()) {
    harness.send(*stream, first);
    EXPECT_EQ(status_of(stream->output), 200);
    stream->output.clear();
    if (!same_connection) stream = &harness.connect();
  }
  harness.send(*stream, second);
  return stream->output;
}

TEST(KeptHead, ChangesNothingThatIsAnswered) {
  const std::string first = post("5", "hello");
  const std::vector<std::string> seconds = {
      post("5", "world"),
      post("7", "longer!"),
      post("0", ""),
      post("12", "twelve bytes"),
      post("05", "zeros"),
      post("5 ", "space"),
      post("x", "wrong"),
      post("-", "wrong"),
      post("5", "world", "X-More: 1\r\n"),
      post("5", "world", "Content-Length: 5\r\n"),
      post("5", "world", "Transfer-Encoding: chunked\r\n"),
      post("5", "world", "Connection: close\r\n"),
      "POST /echo HTTP/1.1\r\nHost: y\r\nContent-Length: 5\r\n\r\nworld",
      "POST /echo HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n\r\nworld",
      "\r\n" + post("5", "world"),
      "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
  };
  for (const std::string& second : seconds) {
    const std::string alone = after("", second, false);
    ASSERT_FALSE(alone.empty()) << second;
    EXPECT_EQ(after(first, second, true), alone) << second;
    EXPECT_EQ(after(first, second, false), alone) << second;
  }
}

TEST(KeptHead, ShowsTheHandlerTheSameRequest) {
  Harness harness;
  const std::string headers =
      "X-Write-Key: k\r\nUser-Agent: test/1\r\nOrigin: https://a.example\r\n";
  FakeStream& one = harness.connect("203.0.113.9");
  FakeStream& two = harness.connect("203.0.113.10");
  harness.send(one, post("5", "first", headers));
  harness.send(two, post("6", "second", headers));
  harness.send(one, post("5", "third", headers) + post("6", "fourth", headers));
  ASSERT_EQ(harness.handler.seen.size(), 4u);
  const auto& first = harness.handler.seen.front();
  for (const auto& seen : harness.handler.seen) {
    EXPECT_EQ(seen.method, Method::kPost);
    EXPECT_EQ(seen.target, "/echo");
    EXPECT_EQ(seen.path, "/echo");
    ASSERT_EQ(seen.headers.size(), first.headers.size());
    for (size_t i = 0; i < seen.headers.size(); ++i) {
      EXPECT_EQ(seen.headers[i].first, first.headers[i].first);
      if (seen.headers[i].first == "Content-Length")
        EXPECT_EQ(seen.headers[i].second, std::to_string(seen.body.size()));
      else
        EXPECT_EQ(seen.headers[i].second, first.headers[i].second);
    }
  }
  EXPECT_EQ(harness.handler.seen[1].body, "second");
  EXPECT_EQ(harness.handler.seen[1].client_ip, "203.0.113.10");
  EXPECT_EQ(harness.handler.seen[2].client_ip, "203.0.113.9");
  EXPECT_EQ(harness.handler.seen[3].body, "fourth");
  EXPECT_EQ(count_of(one.output, "Access-Control-Allow-Origin: https://a.example\r\n"), 3u);
}

TEST(KeptHead, ARefusedOriginIsRefusedAgain) {
  Harness harness;
  const std::string request = post("5", "hello", "Origin: https://evil.example\r\n");
  FakeStream& stream = harness.connect();
  harness.send(stream, request + request + request);
  EXPECT_TRUE(harness.handler.seen.empty());
  EXPECT_EQ(count_of(stream.output, "HTTP/1.1 403"), 3u) << stream.output;
}

TEST(KeptHead, IsReadFromPiecesToo) {
  for (size_t piece = 1; piece < 60; ++piece) {
    Harness harness;
    FakeStream& stream = harness.connect();
    harness.send(stream, post("5", "hello"));
    harness.send_in_pieces(stream, post("5", "again") + post("6", "twice!"), piece);
    ASSERT_EQ(harness.handler.seen.size(), 3u) << piece;
    EXPECT_EQ(harness.handler.seen[1].body, "again");
    EXPECT_EQ(harness.handler.seen[2].body, "twice!");
  }
}

TEST(KeptHead, MeetsTheLimitsOfNow) {
  Harness harness;
  FakeStream& stream = harness.connect();
  harness.send(stream, post("5", "hello", "A: 1\r\nB: 2\r\nC: 3\r\n"));
  EXPECT_EQ(status_of(stream.output), 200);
  stream.output.clear();
  Limits limits = production_options().limits;
  limits.header_count = 3;
  harness.server->set_limits(limits);
  harness.send(stream, post("5", "hello", "A: 1\r\nB: 2\r\nC: 3\r\n"));
  EXPECT_EQ(status_of(stream.output), 431) << stream.output;
}

TEST(KeptHead, ALengthThatIsTooLargeIsRefused) {
  ServerOptions options = production_options();
  options.limits.body_bytes = 500;
  Harness harness(options);
  FakeStream& stream = harness.connect();
  harness.send(stream, post("100", std::string(100, 'a')));
  EXPECT_EQ(status_of(stream.output), 200);
  stream.output.clear();
  harness.send(stream, post("501", std::string(501, 'a')));
  EXPECT_EQ(status_of(stream.output), 413) << stream.output;
}

}  // namespace
}  // namespace weir::http
