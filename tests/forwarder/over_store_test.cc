// The forwarder over the real store: real files, real marks, real restarts. Of each process's life
// only the kill is missing (tests/crash has that): a hanging request that is cut off by stop()
// leaves the same durable state as a crash between send and mark.
#include "tests/forwarder/over_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "forwarder/forwarder.h"
#include "tests/forwarder/event_ids.h"
#include "tests/forwarder/faulty_server.h"

namespace weir::forwarder::testing {
namespace {

using Fault = ServerAnswer::Fault;

class OverStoreTest : public OverStore {
 protected:
  OverStoreTest() {
    destination.name = "saas";
    destination.batch.linger_ms = 5;
    destination.retry.base_ms = 10;
    destination.retry.cap_ms = 50;
    storage::LaneOptions lane;
    lane.name = "saas";
    store_options.lanes = {lane};
  }
  ~OverStoreTest() override { close(); }

  void serve(FaultyServer::Handler handler) {
    server = std::make_unique<FaultyServer>(std::move(handler));
    destination.url = server->url();
  }
  void start() {
    ForwarderOptions options;
    options.node = "edge-1";
    options.destinations = {destination};
    options.drain_ms = 200;
    auto started = Forwarder::start(options, *store, Clock::system(), metrics);
    ASSERT_TRUE(started) << started.error().message;
    forwarder = std::move(*started);
  }
  void close() {
    if (forwarder) forwarder->stop();
    stop_store();
    forwarder.reset();
    store.reset();
    server.reset();
  }
  storage::LaneState lane() const { return *store->lane("saas"); }
  std::multiset<std::string> arrived() const {
    std::multiset<std::string> all;
    for (const ServerRequest& request : server->requests())
      for (const std::string& id : event_ids(request.body)) all.insert(id);
    return all;
  }

  DestinationOptions destination;
  std::unique_ptr<FaultyServer> server;
  std::unique_ptr<Forwarder> forwarder;
};

TEST_F(OverStoreTest, EverythingCommittedArrivesOnceAndIsCounted) {
  open_store();
  serve([](const ServerRequest&) { return ServerAnswer{}; });
  start();
  for (int i = 0; i < 10; ++i) append(300, "e" + std::to_string(i) + "-", i % 2 ? "a" : "b");
  ASSERT_TRUE(eventually([&] { return lane().counts.sent == 3000; }));
  const auto ids = arrived();
  EXPECT_EQ(ids.size(), 3000u);
  EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 3000u);
  EXPECT_EQ(lane().tenants.at("a").sent, 1500u);
  EXPECT_EQ(lane().tenants.at("b").sent, 1500u);
  auto counts = store->fresh_counts();
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->total.sent, 3000u);
  EXPECT_EQ(counts->total.pending, 0u);
  auto rows = store->deliveries("saas", {0, 3000});  // the oldest rows may be gone by now
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->at(0).status, 200);
}

TEST_F(OverStoreTest, AfterARestartTheSameBatchComesWithItsAttempts) {
  open_store();
  std::atomic<int> calls = 0;
  serve([&](const ServerRequest&) {
    const bool hang = ++calls > 3;
    return ServerAnswer{.status = 503, .fault = hang ? Fault::kHang : Fault::kNone};
  });
  append(100, "e");
  start();
  ASSERT_TRUE(eventually([&] { return calls > 3; }));
  const auto before = server->requests();
  close();

  open_store();
  ASSERT_EQ(lane().shards[0].open.size(), 1u);
  const storage::OpenRange range = lane().shards[0].open.begin()->second;
  EXPECT_EQ(range.attempts, 3u);
  EXPECT_GT(range.first_attempt_ms, 0);
  serve([](const ServerRequest&) { return ServerAnswer{}; });
  start();
  ASSERT_TRUE(eventually([&] { return lane().counts.sent == 100; }));
  const auto after = server->requests();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].headers.at("idempotency-key"), before[0].headers.at("idempotency-key"));
  EXPECT_EQ(after[0].wire_body, before[0].wire_body);
  auto rows = store->deliveries("saas", {0, 50});
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->at(0).attempts, 4u);
}

TEST_F(OverStoreTest, APoisonEventEndsAsADeadLetterAndGoesOutWhenRequeued) {
  open_store();
  std::atomic<bool> repaired = false;
  serve([&](const ServerRequest& request) {
    const auto ids = event_ids(request.body);
    const bool poison = std::find(ids.begin(), ids.end(), "poison0") != ids.end();
    return ServerAnswer{.status = poison && !repaired ? 422 : 200, .body = "bad field"};
  });
  append(400, "a");
  append(1, "poison");
  append(599, "b");
  start();
  ASSERT_TRUE(eventually([&] { return lane().counts.sent == 999 && lane().counts.failed == 1; }));
  const auto failed = letters("saas");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(failed[0].event_id, "poison0");
  EXPECT_EQ(failed[0].reason, "http_422");
  EXPECT_EQ(failed[0].detail, "HTTP 422: bad field");
  EXPECT_EQ(store->fresh_counts()->total.failed, 1u);

  repaired = true;
  requeue(failed[0]);
  forwarder->wake();
  ASSERT_TRUE(eventually([&] { return lane().counts.sent == 1000; }));
  EXPECT_EQ(lane().counts.failed, 0u);
  EXPECT_EQ(store->fresh_counts()->total.sent, 1000u);
}

TEST_F(OverStoreTest, ATotalOutageLosesNothing) {
  open_store();
  std::atomic<bool> down = true;
  serve([&](const ServerRequest&) {
    return ServerAnswer{.fault = down ? Fault::kReset : Fault::kNone};
  });
  start();
  for (int i = 0; i < 20; ++i) append(200, "e" + std::to_string(i) + "-");
  ASSERT_TRUE(eventually([&] { return forwarder->status()[0].attempts >= 2; }));
  EXPECT_EQ(lane().counts.sent, 0u);
  down = false;
  ASSERT_TRUE(eventually([&] { return lane().counts.sent == 4000; }));
  EXPECT_EQ(lane().shards[0].low(), 4001u);
}

}  // namespace
}  // namespace weir::forwarder::testing
