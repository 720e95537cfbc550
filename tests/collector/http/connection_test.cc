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

TEST(Connection, TheHandlerLearnsThatAClientWhoseRequestItHoldsEndedItsSide) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_EQ(harness.handler.lent.size(), 1u);
  EXPECT_TRUE(harness.handler.gone.empty());
  harness.eof(client);
  EXPECT_TRUE(harness.handler.gone.contains(harness.handler.lent[0]));
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.loop.settle();
  EXPECT_EQ(status_of(client.output), 200);  // only its sending side had ended
}

TEST(Connection, TheHandlerLearnsThatAClientIsGoneAndAnswersAllTheSame) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  harness.reset(client);
  EXPECT_TRUE(harness.handler.gone.contains(harness.handler.lent[0]));
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  EXPECT_EQ(harness.server->busy_exchanges(), 0u);
}

TEST(Connection, AnswersThatHaveNotLeftAreCounted) {
  Harness harness;
  FakeStream& client = harness.connect();
  client.reads = false;
  harness.send(client, kGet);
  const uint64_t unsent = harness.server->unsent_bytes();
  EXPECT_GT(unsent, 11u);
  client.reads = true;
  harness.loop.settle();
  EXPECT_EQ(harness.server->unsent_bytes(), 0u);
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

std::string get_with(const std::string& headers, const std::string& version = "1.1") {
  return "GET / HTTP/" + version + "\r\nHost: x\r\n" + headers + "\r\n";
}

TEST(Connection, ClosesWhenTheClientAsksAndStaysOpenOtherwise) {
  Harness harness;
  FakeStream& stays = harness.connect();
  harness.send(stays, kGet);
  EXPECT_FALSE(stays.closing());
  EXPECT_EQ(header_of(stays.output, "Connection"), "<none>");
  FakeStream& leaves = harness.connect();
  harness.send(leaves, get_with("Connection: foo, Close\r\n"));
  EXPECT_TRUE(leaves.closed);
  EXPECT_EQ(header_of(leaves.output, "Connection"), "close");
}

TEST(Connection, Http10ClosesUnlessKeepAliveIsAskedFor) {
  Harness harness;
  FakeStream& plain = harness.connect();
  harness.send(plain, get_with("", "1.0"));
  EXPECT_TRUE(plain.closed);
  EXPECT_EQ(header_of(plain.output, "Connection"), "close");
  FakeStream& kept = harness.connect();
  for (int i = 0; i < 2; ++i) harness.send(kept, get_with("Connection: keep-alive\r\n", "1.0"));
  EXPECT_FALSE(kept.closing());
  EXPECT_EQ(header_of(kept.output, "Connection"), "keep-alive");
  EXPECT_EQ(harness.handler.seen.size(), 3u);
}

TEST(Connection, NothingIsServedBehindARequestThatCloses) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, get_with("Connection: close\r\n") + std::string(kGet));
  EXPECT_EQ(harness.handler.seen.size(), 1u);
  EXPECT_TRUE(client.write_shut) << "lingers, because more bytes were coming";
  EXPECT_FALSE(client.closing());
  harness.eof(client);
  EXPECT_TRUE(client.closed);
}

TEST(Connection, HeadHasTheLengthAndNoBody) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kGet));
  const size_t first_end = client.output.find("\r\n\r\n") + 4;
  EXPECT_EQ(header_of(client.output, "Content-Length"), "11");
  EXPECT_EQ(client.output.substr(first_end, 9), "HTTP/1.1 ");
}

TEST(Connection, A204HasNeitherBodyNorLength) {
  Harness harness;
  harness.handler.on_any = [](Exchange& exchange) {
    Response response;
    response.status = 204;
    response.extra_headers = "Weir-Ack: committed\r\n";
    response.retry_after_seconds = 7;
    exchange.respond(response);
  };
  const std::string answer = harness.ask(kGet);
  EXPECT_EQ(answer.substr(0, 25), "HTTP/1.1 204 No Content\r\n");
  EXPECT_EQ(header_of(answer, "Content-Length"), "<none>");
  EXPECT_EQ(header_of(answer, "Content-Type"), "<none>");
  EXPECT_EQ(header_of(answer, "Weir-Ack"), "committed");
  EXPECT_EQ(header_of(answer, "Retry-After"), "7");
  EXPECT_EQ(body_of(answer), "");
}

TEST(Connection, ExpectContinueIsAnsweredBeforeTheBodyIsSent) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(
      client,
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(client.output, "HTTP/1.1 100 Continue\r\n\r\n");
  harness.send(client, "hello");
  EXPECT_EQ(count_of(client.output, "HTTP/1.1 100"), 1u);
  EXPECT_EQ(client.output.substr(client.output.size() - 5), "hello");
}

TEST(Connection, ContinueWaitsForTheAnswersOfEarlierRequests) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client,
               "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
               "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n");
  EXPECT_EQ(client.output, "");
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.loop.settle();
  EXPECT_EQ(client.output.substr(0, 15), "HTTP/1.1 200 OK");
  EXPECT_EQ(client.output.substr(client.output.size() - 25), "HTTP/1.1 100 Continue\r\n\r\n");
}

TEST(Connection, ContinueIsNotSentWhenTheHeadIsRefused) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client,
               "POST /refused HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n");
  EXPECT_EQ(status_of(client.output), 401);
  EXPECT_EQ(count_of(client.output, "100 Continue"), 0u);
  EXPECT_EQ(header_of(client.output, "Connection"), "close");
  EXPECT_EQ(harness.metric(Metric::kHttpErrors, {"unknown_key"}), 1);
}

TEST(Connection, OtherExpectationsGet417) {
  Harness harness;
  EXPECT_EQ(status_of(harness.ask(get_with("Expect: the-unexpected\r\n"))), 417);
}

TEST(Connection, ARefusedHeadLeavesTheConnectionUsableWhenItsBodyCanBeSkipped) {
  Harness harness;
  FakeStream& client = harness.connect();
  const std::string refused = "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
  harness.send_in_pieces(client, refused + std::string(kGet), 3);
  EXPECT_EQ(status_of(client.output), 401);
  EXPECT_EQ(header_of(client.output, "Connection"), "<none>");
  EXPECT_EQ(count_of(client.output, "HTTP/1.1 200"), 1u);
  ASSERT_EQ(harness.handler.seen.size(), 1u);
  EXPECT_EQ(harness.handler.seen[0].path, "/a");
}

TEST(Connection, ARefusedHeadClosesWhenTheBodyIsLarge) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\nbegin");
  EXPECT_EQ(status_of(client.output), 401);
  EXPECT_EQ(header_of(client.output, "Connection"), "close");
  EXPECT_TRUE(client.write_shut);
  EXPECT_FALSE(client.closing()) << "a close now would be a reset that destroys the answer";
  for (int i = 0; i < 100; ++i) harness.send(client, std::string(4096, 'x'));
  EXPECT_FALSE(client.closing());
  harness.eof(client);
  EXPECT_TRUE(client.closed);
}

TEST(Connection, LingeringEndsByTime) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "nonsense\r\n\r\nmore");
  EXPECT_FALSE(client.closing());
  harness.loop.advance_ms(5100);
  EXPECT_TRUE(client.closed);
}

TEST(Connection, HalfClosedClientsStillGetTheirAnswers) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  harness.eof(client);
  EXPECT_FALSE(client.closing());
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.loop.settle();
  EXPECT_EQ(status_of(client.output), 200);
  EXPECT_TRUE(client.closed);
}

TEST(Connection, ARequestCutOffIsRefused) {
  for (const char* part :
       {"GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"}) {
    Harness harness;
    FakeStream& client = harness.connect();
    harness.send(client, part);
    harness.eof(client);
    EXPECT_EQ(status_of(client.output), 400);
    EXPECT_TRUE(client.closed);
    EXPECT_TRUE(harness.handler.seen.empty());
    EXPECT_EQ(harness.metric(Metric::kHttpErrors, {"incomplete_request"}), 1);
  }
}

TEST(Connection, ExchangesOutliveAClientThatLeaves) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client,
               "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
               "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nworld");
  ASSERT_EQ(harness.handler.lent.size(), 2u);
  EXPECT_FALSE(harness.handler.lent[0]->client_gone());
  harness.reset(client);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(harness.handler.lent[0]->client_gone());
  EXPECT_EQ(harness.handler.lent[0]->request().body.view(), "hello");
  EXPECT_EQ(harness.handler.lent[1]->request().header("host"), "x");
  EXPECT_EQ(harness.handler.lent[1]->request().client_ip, "203.0.113.9");
  for (Exchange* exchange : harness.handler.lent) exchange->respond({});
  harness.handler.lent.clear();
  EXPECT_EQ(harness.server->busy_exchanges(), 0u);
}

TEST(Connection, TooManyUnansweredRequestsPauseReading) {
  ServerOptions options = production_options();
  options.limits.pipelined_requests = 3;
  Harness harness(options);
  FakeStream& client = harness.connect();
  std::string requests;
  for (int i = 0; i < 7; ++i) requests += "GET /later HTTP/1.1\r\nHost: x\r\n\r\n";
  harness.send(client, requests);
  EXPECT_EQ(harness.handler.lent.size(), 3u);
  EXPECT_TRUE(client.paused);
  EXPECT_EQ(harness.limit_hits("pipelined_requests"), 1);
  for (size_t i = 0; i < 7; ++i) {
    ASSERT_LT(i, harness.handler.lent.size());
    harness.handler.lent[i]->respond({});
    harness.loop.settle();
  }
  harness.handler.lent.clear();
  EXPECT_FALSE(client.paused);
  EXPECT_EQ(count_of(client.output, "HTTP/1.1 200 OK"), 7u);
}

TEST(Connection, AClientThatReadsNothingIsNotReadFromForEver) {
  Harness harness;
  harness.handler.on_any = [](Exchange& exchange) {
    const std::string body(20'000, 'x');
    Response response;
    response.body = body;
    exchange.respond(response);
  };
  FakeStream& client = harness.connect();
  client.reads = false;
  for (int i = 0; i < 100 && !client.paused; ++i) harness.send(client, kGet);
  EXPECT_TRUE(client.paused);
  EXPECT_LT(harness.handler.seen.size(), 20u);
  EXPECT_EQ(harness.limit_hits("unsent_bytes"), 1);
  client.reads = true;
  harness.loop.settle();
  EXPECT_FALSE(client.paused);
}

TEST(Connection, DrainClosesIdleConnectionsNowAndBusyOnesAfterTheirAnswer) {
  Harness harness;
  FakeStream& fresh = harness.connect();
  FakeStream& idle = harness.connect();
  harness.send(idle, kGet);
  FakeStream& busy = harness.connect();
  harness.send(busy, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  FakeStream& half = harness.connect();
  harness.send(half, kGet.substr(0, 10));
  harness.server->drain();
  harness.loop.settle();
  EXPECT_TRUE(fresh.closed);
  EXPECT_TRUE(idle.closed);
  EXPECT_FALSE(busy.closing());
  EXPECT_EQ(harness.connect().handler, nullptr) << "no new connections";
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.send(half, kGet.substr(10));
  EXPECT_EQ(header_of(busy.output, "Connection"), "close");
  EXPECT_EQ(header_of(half.output, "Connection"), "close");
  EXPECT_TRUE(busy.closed);
  EXPECT_TRUE(half.closed);
}

TEST(Connection, StreamsLeaveInChunksUntilFinished) {
  Harness harness;
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    Response head;
    head.content_type = "text/event-stream";
    exchange.begin_stream(head);
  };
  FakeStream& client = harness.connect();
  harness.send(client, kGet);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(header_of(client.output, "Transfer-Encoding"), "chunked");
  EXPECT_EQ(header_of(client.output, "Content-Length"), "<none>");
  EXPECT_TRUE(stream->write_chunk("data: 1\n\n"));
  harness.loop.settle();
  EXPECT_EQ(body_of(client.output), "9\r\ndata: 1\n\n\r\n");
  stream->finish_stream();
  harness.loop.settle();
  EXPECT_EQ(body_of(client.output), "9\r\ndata: 1\n\n\r\n0\r\n\r\n");
  EXPECT_EQ(harness.server->busy_exchanges(), 0u);
  harness.handler.on_any = nullptr;
  harness.send(client, kGet);
  EXPECT_EQ(harness.handler.seen.size(), 2u) << "the connection goes on";
}

TEST(Connection, AStreamEndsWhenItsReaderLeaves) {
  for (bool by_reset : {false, true}) {
    Harness harness;
    Exchange* stream = nullptr;
    harness.handler.on_any = [&](Exchange& exchange) {
      stream = &exchange;
      exchange.begin_stream({});
    };
    FakeStream& client = harness.connect();
    harness.send(client, kGet);
    by_reset ? harness.reset(client) : harness.eof(client);
    EXPECT_TRUE(client.closed);
    EXPECT_TRUE(stream->client_gone());
    EXPECT_FALSE(stream->write_chunk("x"));
    stream->finish_stream();
  }
}

TEST(Connection, AStreamBuffersOnlySoMuchForASlowReader) {
  Harness harness;
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    exchange.begin_stream({});
  };
  FakeStream& client = harness.connect();
  client.reads = false;
  harness.send(client, kGet);
  const std::string piece(10'000, 'x');
  int written = 0;
  while (written < 1000 && stream->write_chunk(piece)) {
    ++written;
    harness.loop.settle();
  }
  EXPECT_GT(written, 20);
  EXPECT_LT(written, 30);
  EXPECT_EQ(harness.limit_hits("stream_buffer_bytes"), 1);
  EXPECT_TRUE(client.reset);
  stream->finish_stream();
}

TEST(Connection, AStreamSaysWhatItsReaderHasNotTaken) {
  Harness harness;
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    exchange.begin_stream({});
  };
  FakeStream& client = harness.connect();
  harness.send(client, kGet);
  EXPECT_EQ(stream->stream_backlog(), 0u) << "the head has left";
  client.reads = false;
  stream->write_chunk(std::string(1'000, 'x'));
  harness.loop.settle();
  EXPECT_GE(stream->stream_backlog(), 1'000u) << "in flight";
  stream->write_chunk(std::string(1'000, 'x'));
  EXPECT_GE(stream->stream_backlog(), 2'000u) << "in flight and behind it";
  client.reads = true;
  harness.loop.settle();
  EXPECT_EQ(stream->stream_backlog(), 0u);
  harness.reset(client);
  EXPECT_EQ(stream->stream_backlog(), 0u);
  stream->finish_stream();
}

TEST(Connection, AStreamBehindAnotherAnswerWaitsItsTurnWithinTheSameBound) {
  Harness harness;
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    exchange.begin_stream({});
  };
  harness.send(client, kGet);
  const std::string piece(10'000, 'x');
  while (stream->stream_backlog() < 100'000) ASSERT_TRUE(stream->write_chunk(piece));
  EXPECT_EQ(client.output, "");
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
  harness.loop.settle();
  EXPECT_EQ(stream->stream_backlog(), 0u);
  EXPECT_EQ(count_of(client.output, "HTTP/1.1 200 OK"), 2u);
  stream->finish_stream();
}

TEST(Connection, ADrainEndsAConnectionWhenItsStreamIsFinished) {
  Harness harness;
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    exchange.begin_stream({});
  };
  FakeStream& client = harness.connect();
  harness.send(client, kGet);
  harness.server->drain();
  harness.loop.settle();
  EXPECT_FALSE(client.closed);
  EXPECT_TRUE(stream->write_chunk("last words"));
  stream->finish_stream();
  harness.loop.settle();
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(count_of(client.output, "last words\r\n0\r\n\r\n"), 1u);
}

TEST(Connection, AReaderThatStallsLosesItsStream) {
  Harness harness;
  Exchange* stream = nullptr;
  harness.handler.on_any = [&](Exchange& exchange) {
    stream = &exchange;
    exchange.begin_stream({});
  };
  FakeStream& client = harness.connect();
  client.reads = false;
  harness.send(client, kGet);
  harness.loop.advance_ms(production_options().limits.send_stall_ms + 1'000);
  EXPECT_TRUE(client.reset);
  EXPECT_TRUE(stream->client_gone());
  EXPECT_EQ(harness.limit_hits("send_stall_ms"), 1);
  stream->finish_stream();
}

TEST(Connection, AnAnswerThatClosesEndsTheRequestBehindItAndItsTimer) {
  for (const char* behind :
       {"GET /half HTT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"}) {
    Harness harness;
    FakeStream& client = harness.connect();
    client.reads = false;
    harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(behind));
    Response response;
    response.close = true;
    harness.handler.lent[0]->respond(response);
    harness.handler.lent.clear();
    harness.loop.advance_ms(15'000);  // past head_ms and body_gap_ms
    EXPECT_FALSE(client.closing());
    client.reads = true;
    harness.loop.settle();
    EXPECT_EQ(status_of(client.output), 200);
    EXPECT_EQ(count_of(client.output, "Content-Length: "), 1u);
    EXPECT_TRUE(client.write_shut);
    EXPECT_EQ(harness.limit_hits("head_ms") + harness.limit_hits("body_gap_ms"), 0);
  }
}

TEST(Connection, AnsweringTwiceIsAProgrammersError) {
  Harness harness;
  harness.handler.on_any = [](Exchange& exchange) {
    exchange.respond({});
    EXPECT_DEATH(exchange.respond({}), "exactly once");
  };
  FakeStream& client = harness.connect();
  harness.send(client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kGet));
  harness.handler.lent[0]->respond({});
  harness.handler.lent.clear();
}

}  // namespace
}  // namespace weir::http
