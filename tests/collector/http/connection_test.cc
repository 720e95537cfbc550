// The connection's state machine: order, keep-alive, framing of answers, closing, slow clients.
#include <gmock/gmock.h>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

constexpr std::string_view kGet = "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kPost =
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";

TEST(Connection, AnswersAGet) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, kGet);
  EXPECT_EQ(status_of(client.output), 200);
  EXPECT_EQ(header_of(client.output, "Content-Type"), "application/json");
  EXPECT_EQ(header_of(client.output, "Content-Length"), "11");
  EXPECT_EQ(header_of(client.output, "Date"), "Tue, 14 Nov 2023 22:13:20 GMT");
  EXPECT_EQ(body_of(client.output), "{\"ok\":true}");
  EXPECT_FALSE(client.closing());
  ASSERT_EQ(harness.handler.seen.size(), 1u);
  EXPECT_EQ(harness.handler.seen[0].target, "/a?b=c");
  EXPECT_EQ(harness.handler.seen[0].path, "/a");
  EXPECT_EQ(harness.handler.seen[0].query, "b=c");
  EXPECT_EQ(harness.handler.seen[0].client_ip, "203.0.113.9");
}

TEST(Connection, AnswersAPostWithItsBodyHoweverItIsSplit) {
  for (size_t piece : {1, 2, 3, 7, 20, 100}) {
    Harness harness;
    FakeStream& client = harness.connect();
    for (int i = 0; i < 3; ++i) harness.send_in_pieces(client, kPost, piece);
    EXPECT_EQ(count_of(client.output, "HTTP/1.1 200 OK\r\n"), 3u) << piece;
    EXPECT_EQ(count_of(client.output, "\r\n\r\nhello"), 3u) << piece;
  }
}

TEST(Connection, PipelinedAnswersLeaveInOrderWhateverOrderTheyAreGivenIn) {
  Harness harness;
  FakeStream& client = harness.connect();
  std::string requests;
  for (char c = 'a'; c <= 'e'; ++c)
    requests += std::string("POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n") + c;
  harness.send(client, requests);
  ASSERT_EQ(harness.handler.lent.size(), 5u);
  EXPECT_EQ(harness.server->busy_exchanges(), 5u);
  for (size_t i : {3, 1, 4, 0, 2}) {
    Exchange* exchange = harness.handler.lent[i];
    const std::string body = "answer-" + std::string(exchange->request().body.view());
    Response response;
    response.body = body;
    exchange->respond(response);
    harness.loop.settle();
    if (i == 4) {
      EXPECT_EQ(client.output, "");
    }
  }
  harness.handler.lent.clear();
  std::string order;
  for (size_t at = client.output.find("answer-"); at != std::string::npos;
       at = client.output.find("answer-", at + 1))
    order += client.output[at + 7];
  EXPECT_EQ(order, "abcde");
}

TEST(Connection, AnswersOfOneTurnAreOneSend) {
  Harness harness;
  FakeStream& client = harness.connect();
  std::string requests;
  for (int i = 0; i < 10; ++i) requests += kGet;
  harness.send(client, requests);
  EXPECT_EQ(count_of(client.output, "HTTP/1.1 200 OK\r\n"), 10u);
  EXPECT_EQ(client.sends, 1);
}

}  // namespace
}  // namespace weir::http
