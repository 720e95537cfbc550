// Every limit: what a client that meets it gets, and that it is counted under its name.
#include <gtest/gtest.h>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

std::string post(size_t size, const std::string& headers = "") {
  return "POST /echo HTTP/1.1\r\nHost: x\r\n" + headers +
         "Content-Length: " + std::to_string(size) + "\r\n\r\n" + std::string(size, 'b');
}
std::string chunked(size_t size) {
  std::string text = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t sent = 0; sent < size; sent += 100) text += "64\r\n" + std::string(100, 'b') + "\r\n";
  return text + "0\r\n\r\n";
}
constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

// With the limit just met the request is served; one more and it is refused and counted.
void expect_boundary(const ServerOptions& options, const std::string& fits,
                     const std::string& exceeds, int status, const char* code, const char* limit) {
  for (size_t piece : {0, 1, 50}) {
    Harness harness(options);
    EXPECT_EQ(status_of(harness.ask(fits, piece)), 200) << limit << " piece " << piece;
    EXPECT_EQ(harness.limit_hits(limit), 0);
    const std::string answer = harness.ask(exceeds, piece);
    EXPECT_EQ(status_of(answer), status) << limit << " piece " << piece << answer;
    EXPECT_NE(answer.find("{\"success\":false,\"code\":\"" + std::string(code) + "\""),
              std::string::npos)
        << answer;
    EXPECT_EQ(harness.limit_hits(limit), 1) << limit;
    EXPECT_EQ(harness.metric(Metric::kHttpErrors, {code}), 1) << code;
    EXPECT_EQ(harness.metric(Metric::kHttpRequests, {"http", std::to_string(status)}), 1);
  }
}

TEST(Limits, RequestLine) {
  ServerOptions options = production_options();
  options.limits.request_line_bytes = 100;
  const auto request = [](size_t line_bytes) {
    return "GET /" + std::string(line_bytes - 14, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n";
  };
  expect_boundary(options, request(100), request(101), 414, "uri_too_long", "request_line_bytes");
}

TEST(Limits, HeaderBytes) {
  ServerOptions options = production_options();
  options.limits.header_bytes = 300;
  const auto request = [](size_t bytes) {
    const std::string start = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
    return start + std::string(bytes - start.size() - 4, 'a') + "\r\n\r\n";
  };
  expect_boundary(options, request(300), request(301), 431, "headers_too_large", "header_bytes");
}

TEST(Limits, AnEndlessHeadIsRefusedBeforeItEnds) {
  ServerOptions options = production_options();
  options.limits.header_bytes = 1000;
  Harness harness(options);
  FakeStream& client = harness.connect();
  harness.send(client, "GET / HTTP/1.1\r\n");
  for (int i = 0; i < 300 && client.output.empty(); ++i) harness.send(client, "A: b\r\n");
  EXPECT_EQ(status_of(client.output), 431);
}

TEST(Limits, HeaderCount) {
  ServerOptions options = production_options();
  options.limits.header_count = 5;
  const auto request = [](int count) {
    std::string text = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (int i = 1; i < count; ++i) text += "A: b\r\n";
    return text + "\r\n";
  };
  expect_boundary(options, request(5), request(6), 431, "too_many_headers", "header_count");
}

TEST(Limits, BodyBytesWithLength) {
  ServerOptions options = production_options();
  options.limits.body_bytes = 1000;
  expect_boundary(options, post(1000), post(1001), 413, "body_too_large", "body_bytes");
}

TEST(Limits, BodyBytesInChunks) {
  ServerOptions options = production_options();
  options.limits.body_bytes = 1000;
  expect_boundary(options, chunked(1000), chunked(1100), 413, "body_too_large", "body_bytes");
}

TEST(Limits, AnAnnouncedHugeChunkIsRefusedBeforeItArrives) {
  Harness harness;
  const std::string answer = harness.ask(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nx");
  EXPECT_EQ(status_of(answer), 413);
  EXPECT_LT(harness.budget.used(), 10'000u);
}

TEST(Limits, TheHandlersOwnBodyLimit) {
  Harness harness;
  EXPECT_EQ(status_of(harness.ask("POST /tiny HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
                                  "0123456789")),
            200);
  EXPECT_EQ(status_of(harness.ask("POST /tiny HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"
                                  "0123456789a")),
            413);
  EXPECT_EQ(status_of(harness.ask("POST /tiny HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
                                  "\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n")),
            413);
}

TEST(Limits, BodyMemoryWithLengthIsRefusedBeforeTheBodyIsRead) {
  Harness harness(production_options(), 100'000);
  FakeStream& holds = harness.connect();
  harness.send(holds, post(90'000).substr(0, 200));
  const std::string answer = harness.ask(post(20'000).substr(0, 100));
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_EQ(header_of(answer, "Retry-After"), "1");
  EXPECT_NE(answer.find("body_memory_exhausted"), std::string::npos);
  EXPECT_EQ(harness.limit_hits("body_memory_bytes"), 1);
  harness.reset(holds);
  EXPECT_EQ(status_of(harness.ask(post(20'000))), 200) << "the memory came back";
}

TEST(Limits, BodyMemoryInChunksIsRefusedWhenItGrows) {
  Harness harness(production_options(), 50'000);
  const std::string answer = harness.ask(chunked(60'000));
  EXPECT_EQ(status_of(answer), 503);
  EXPECT_EQ(harness.limit_hits("body_memory_bytes"), 1);
  EXPECT_EQ(harness.budget.used(), 0u);
}

TEST(Limits, TrailerBytes) {
  ServerOptions options = production_options();
  options.limits.header_bytes = 1000;
  Harness harness(options);
  const std::string start =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ";
  EXPECT_EQ(status_of(harness.ask(start + std::string(900, 'a') + "\r\n\r\n")), 200);
  EXPECT_EQ(status_of(harness.ask(start + std::string(1100, 'a') + "\r\n\r\n")), 431);
  EXPECT_EQ(harness.limit_hits("trailer_bytes"), 1);
}

TEST(Limits, RequestsPerConnection) {
  ServerOptions options = production_options();
  options.limits.requests_per_connection = 2;
  Harness harness(options);
  FakeStream& client = harness.connect();
  harness.send(client, kGet);
  EXPECT_EQ(header_of(client.output, "Connection"), "<none>");
  harness.send(client, kGet);
  EXPECT_EQ(count_of(client.output, "Connection: close\r\n"), 1u);
  EXPECT_TRUE(client.closing());
  EXPECT_EQ(harness.limit_hits("requests_per_connection"), 1);
}

// Slow clients. The other clients of the loop are not disturbed; each of these waits alone.

TEST(Limits, NoFirstByteClosesSilently) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.loop.advance_ms(9'900);
  EXPECT_FALSE(client.closing());
  harness.loop.advance_ms(200);
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(client.output, "");
  EXPECT_EQ(harness.limit_hits("first_byte_ms"), 1);
}

TEST(Limits, ASlowHeadGets408HoweverSteadilyItDrips) {
  Harness harness;
  FakeStream& client = harness.connect();
  for (int i = 0; i < 9; ++i) {
    harness.send(client, std::string_view("GET / HTTP").substr(static_cast<size_t>(i), 1));
    harness.loop.advance_ms(1'000);
    EXPECT_EQ(client.output, "") << i;
  }
  harness.loop.advance_ms(1'500);
  EXPECT_EQ(status_of(client.output), 408);
  EXPECT_EQ(harness.limit_hits("head_ms"), 1);
  EXPECT_TRUE(client.write_shut);
}

TEST(Limits, AGapInABodyGets408) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, post(100).substr(0, 80));
  harness.loop.advance_ms(9'000);
  harness.send(client, "b");
  harness.loop.advance_ms(9'000);
  EXPECT_EQ(client.output, "");
  harness.loop.advance_ms(1'500);
  EXPECT_EQ(status_of(client.output), 408);
  EXPECT_EQ(harness.limit_hits("body_gap_ms"), 1);
  EXPECT_EQ(harness.budget.used(), 0u);
}

TEST(Limits, ABodyThatDripsGets408AfterItsTime) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, post(1000).substr(0, 80));
  for (int i = 0; i < 59; ++i) {
    harness.loop.advance_ms(1'000);
    harness.send(client, "b");
  }
  EXPECT_EQ(client.output, "");
  harness.loop.advance_ms(1'100);
  EXPECT_EQ(status_of(client.output), 408);
  EXPECT_EQ(harness.limit_hits("body_ms"), 1);
}

TEST(Limits, ASkippedBodyIsNotWaitedForForEver) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab");
  EXPECT_EQ(status_of(client.output), 401);
  harness.loop.advance_ms(10'100);
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(harness.limit_hits("body_gap_ms"), 1);
}

TEST(Limits, IdleKeepAliveClosesSilently) {
  Harness harness;
  FakeStream& client = harness.connect();
  for (int i = 0; i < 3; ++i) {
    harness.send(client, kGet);
    harness.loop.advance_ms(74'000);
    EXPECT_FALSE(client.closing()) << i;
  }
  const size_t before = client.output.size();
  harness.loop.advance_ms(1'100);
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(client.output.size(), before);
  EXPECT_EQ(harness.limit_hits("idle_ms"), 1);
}

TEST(Limits, AnswersThatTakeLongDoNotLookLikeASlowClient) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  harness.loop.advance_ms(500'000);
  EXPECT_FALSE(client.closing());
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.loop.settle();
  EXPECT_EQ(status_of(client.output), 200);
}

TEST(Limits, AClientThatReadsNothingIsReset) {
  Harness harness;
  FakeStream& client = harness.connect();
  client.reads = false;
  harness.send(client, kGet);
  harness.loop.advance_ms(29'000);
  EXPECT_FALSE(client.closing());
  harness.loop.advance_ms(1'100);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(harness.limit_hits("send_stall_ms"), 1);
}

TEST(Limits, ALongAnswerThatMakesProgressIsNotAStall) {
  Harness harness;
  harness.handler.on_any = [](Exchange& exchange) {
    const std::string body(400'000, 'x');
    Response response;
    response.body = body;
    exchange.respond(response);
  };
  FakeStream& client = harness.connect();
  client.reads = false;
  harness.send(client, kGet);
  for (int i = 0; i < 6; ++i) {
    harness.loop.advance_ms(20'000);
    client.reads = true;  // one slice leaves
    client.turn();
    client.reads = false;
    EXPECT_FALSE(client.closing()) << i;
  }
  client.reads = true;
  harness.loop.settle();
  EXPECT_EQ(body_of(client.output).size(), 400'000u);
}

}  // namespace
}  // namespace weir::http
