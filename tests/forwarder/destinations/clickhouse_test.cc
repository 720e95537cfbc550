// The conversation with ClickHouse, against a server that plays several versions of it. The real
// one is in tests/e2e/34_clickhouse.py.
#include "forwarder/destinations/clickhouse.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>

#include "tests/forwarder/faulty_server.h"

namespace weir::forwarder::testing {
namespace {

class ClickhouseTest : public ::testing::Test {
 protected:
  void open(FaultyServer& server, bool create = true) {
    options.name = "ch";
    options.type = "clickhouse";
    options.url = server.url("/");
    options.create_table = create;
    options.user = "writer";
    options.password = "pw";
    auto made = make_clickhouse_destination(options, {"edge", "store"}, Clock::system());
    ASSERT_TRUE(made) << made.error().message;
    destination = std::move(*made);
  }
  // Sends one batch and waits for its outcome.
  Outcome deliver(std::string_view batch_id = "b-1") {
    Send send;
    send.batch_id = batch_id;
    send.body = "{}\n";
    send.events = 2;
    destination->send(send);
    for (int turn = 0; turn < 500; ++turn) {
      if (destination->take_finished() != nullptr) return send.outcome;
      pollfd one{destination->poll_fd(), POLLIN, 0};
      poll(&one, 1, 20);
    }
    ADD_FAILURE() << "no outcome";
    destination->abandon();
    return {};
  }
  DestinationOptions options;
  std::unique_ptr<Destination> destination;
};

bool is_insert(const ServerRequest& request) {
  return request.target.find("INSERT%20INTO%20default.weir_events") != std::string::npos;
}
bool is_probe(const ServerRequest& request) {
  return request.body.find("system.settings") != std::string::npos;
}

TEST_F(ClickhouseTest, ANewServerGetsATokenAndATableThatHonoursIt) {
  FaultyServer server([](const ServerRequest& request) {
    return ServerAnswer{.body = is_probe(request) ? "1\n" : ""};
  });
  open(server);
  EXPECT_EQ(deliver("b-7").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(deliver("b-8").kind, OutcomeKind::kDelivered);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 4u);  // probe, create, two inserts
  EXPECT_TRUE(is_probe(requests[0]));
  EXPECT_NE(requests[1].body.find("non_replicated_deduplication_window"), std::string::npos);
  EXPECT_NE(requests[2].target.find("insert_deduplication_token=b-7"), std::string::npos);
  EXPECT_EQ(requests[2].headers.at("x-clickhouse-user"), "writer");
  EXPECT_EQ(requests[2].headers.at("x-clickhouse-key"), "pw");
  EXPECT_EQ(requests[2].headers.at("content-encoding"), "gzip");
}

TEST_F(ClickhouseTest, AnOldServerGetsNeither) {
  FaultyServer server([](const ServerRequest& request) {
    return ServerAnswer{.body = is_probe(request) ? "0\n" : ""};
  });
  open(server);
  EXPECT_EQ(deliver().kind, OutcomeKind::kDelivered);
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[1].body.find("SETTINGS"), std::string::npos);
  EXPECT_EQ(requests[2].target.find("token"), std::string::npos);
}

TEST_F(ClickhouseTest, WhatWaitedForASetupThatFailedIsRetried) {
  bool refuse = true;
  FaultyServer server([&](const ServerRequest&) {
    return refuse ? ServerAnswer{.status = 400, .body = "Code: 62, Syntax error"} : ServerAnswer{};
  });
  open(server);
  const Outcome outcome = deliver();
  EXPECT_EQ(outcome.kind, OutcomeKind::kRetry);
  EXPECT_EQ(outcome.reason, "clickhouse_62");
  refuse = false;
  EXPECT_EQ(deliver().kind, OutcomeKind::kDelivered);
}

TEST_F(ClickhouseTest, ATableThatWasDroppedIsMadeAgain) {
  int inserts = 0;
  FaultyServer server([&](const ServerRequest& request) {
    if (is_insert(request) && ++inserts == 2)
      return ServerAnswer{.status = 404, .body = "Code: 60, Table default.weir_events"};
    return ServerAnswer{};
  });
  open(server);
  EXPECT_EQ(deliver().kind, OutcomeKind::kDelivered);
  EXPECT_EQ(deliver().kind, OutcomeKind::kRetry);
  EXPECT_EQ(deliver().kind, OutcomeKind::kDelivered);
  const auto requests = server.requests();
  EXPECT_EQ(std::count_if(requests.begin(), requests.end(), is_probe), 2);
}

TEST_F(ClickhouseTest, WithoutCreateTableNothingIsMade) {
  FaultyServer server([](const ServerRequest&) { return ServerAnswer{}; });
  open(server, false);
  EXPECT_EQ(deliver().kind, OutcomeKind::kDelivered);
  for (const ServerRequest& request : server.requests())
    EXPECT_EQ(request.body.find("CREATE"), std::string::npos);
}

TEST_F(ClickhouseTest, NamesThatAreNoneAreRefused) {
  options.url = "http://127.0.0.1:1/";
  options.table = "a; DROP TABLE b";
  EXPECT_FALSE(make_clickhouse_destination(options, {"edge", "store"}, Clock::system()));
}

}  // namespace
}  // namespace weir::forwarder::testing
