// The ledger over a real store: what it says after each thing that can happen to an event. Marks
// are made by hand, as the forwarder and the pull consumers make them.
#include "collector/admin/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/storage/store_fixture.h"

namespace weir::admin {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() {
    options_.lanes.resize(2);
    options_.lanes[0].name = "saas";
    options_.lanes[1].name = "central";
    options_.lanes[1].kind = storage::LaneKind::kConsumer;
    store_ = storage::open_store(options_, metrics_);
    storage::TestClient client(*store_);
    for (const char* id : {"one", "two", "three"})
      client.send({{id, "shop", R"({"name":"bought"})"}});
    client.send({{"one", "other", R"({"name":"also"})"}});
  }
  ~LedgerTest() override { store_->stop(); }

  void mark(storage::LaneUpdate& update) {
    Wakeup wakeup;
    auto client = store_->make_lane_client(wakeup);
    client->submit(update);
    while (client->take_outcomes() == nullptr) wakeup.wait(100'000'000);
    ASSERT_TRUE(update.outcome) << update.outcome.error().message;
  }
  storage::LaneUpdate update(const char* lane = "saas") {
    storage::LaneUpdate made;
    made.lane = lane;
    return made;
  }
  storage::OpenRange range(uint64_t first, uint64_t last) {
    storage::OpenRange made;
    made.number = store_->next_batch_number();
    made.first = first;
    made.last = last;
    return made;
  }
  std::string ask(const std::string& id, const std::string& tenant = "shop", bool text = false) {
    const Reply reply = Ledger(*store_, forwarder_).answer(id, tenant, text);
    status_ = reply.status;
    return reply.body;
  }

  storage::TestDirectory directory_;
  MetricRegistry metrics_;
  storage::StoreOptions options_ = storage::small_options(directory_.path());
  std::atomic<forwarder::Forwarder*> forwarder_{nullptr};
  std::unique_ptr<storage::Store> store_;
  int status_ = 0;
};

TEST_F(LedgerTest, AnEventIsFoundByItsIdAndByItsPosition) {
  const std::string by_id = ask("two");
  EXPECT_THAT(by_id, AllOf(HasSubstr(R"("id":"two","seq":"0-2")"), HasSubstr(R"("tenant":"shop")"),
                           HasSubstr(R"("raw":{"name":"bought"})"), HasSubstr(R"("sealed":false)"),
                           HasSubstr(R"("saas":{"state":"pending")"),
                           HasSubstr(R"("central":{"state":"pending")"),
                           Not(HasSubstr(R"("committed_at":null)"))));
  EXPECT_EQ(ask("0-2"), by_id);
  EXPECT_EQ(ask(store_->id().text() + "-0-2"), by_id);
}

TEST_F(LedgerTest, WithoutATenantEveryTenantsEventIsTold) {
  EXPECT_THAT(ask("one", ""), AllOf(HasSubstr(R"("seq":"0-1")"), HasSubstr(R"("seq":"0-4")")));
  EXPECT_THAT(ask("one", "other"), Not(HasSubstr(R"("seq":"0-1")")));
}

TEST_F(LedgerTest, AnUnknownEventIsNotFound) {
  ask("nobody");
  EXPECT_EQ(status_, 404);
  ask("0-99");
  EXPECT_EQ(status_, 404);
  ask("two", "other");
  EXPECT_EQ(status_, 404);
}

TEST_F(LedgerTest, ABatchInFlightShowsItsAttemptsAndItsError) {
  storage::LaneUpdate open = update();
  open.frontiers = {{0, 4}};
  open.put = {range(1, 3)};
  open.put[0].attempts = 4;
  open.put[0].last_error = "503 Service \x1b[31m Unavailable";
  open.put[0].not_before_ms = 1'700'000'000'000;
  mark(open);
  EXPECT_THAT(ask("two"),
              AllOf(HasSubstr(R"("saas":{"state":"in_flight","reason":"","attempts":4)"),
                    HasSubstr(store_->batch_id(open.put[0].number)),
                    HasSubstr(R"("next_attempt_at":"2023-11-14T22:13:20.000Z")")));
  EXPECT_THAT(ask("two", "shop", true),
              AllOf(HasSubstr("in_flight"), HasSubstr("503 Service"), Not(HasSubstr("\x1b"))));
  // What came later still waits.
  EXPECT_THAT(ask("one", "other"), HasSubstr(R"("saas":{"state":"pending")"));
}

TEST_F(LedgerTest, ASentEventNamesItsBatchAndALeasedOneItsHolder) {
  storage::LaneUpdate sent = update();
  sent.frontiers = {{0, 4}};
  storage::DeliveryRow row;
  row.batch_number = 77;
  row.first = 1;
  row.last = 3;
  row.attempts = 2;
  row.status = 202;
  row.finished_ms = 1'700'000'000'000;
  sent.deliveries = {row};
  mark(sent);
  storage::LaneUpdate leased = update("central");
  leased.frontiers = {{0, 4}};
  leased.put = {range(1, 3)};
  leased.put[0].state = storage::RangeState::kLeased;
  leased.put[0].owner = "2a edge-puller";
  leased.put[0].not_before_ms = 1'700'000'300'000;
  mark(leased);
  EXPECT_THAT(ask("three"), AllOf(HasSubstr(R"("saas":{"state":"sent","reason":"","attempts":2)"),
                                  HasSubstr(store_->batch_id(77)), HasSubstr(R"("status":202)"),
                                  HasSubstr(R"("central":{"state":"leased")"),
                                  HasSubstr(R"("leased_by":"edge-puller")"),
                                  HasSubstr(R"("lease_expires_at":"2023-11-14T22:18:20.000Z")")));
}

TEST_F(LedgerTest, AFailedEventKeepsItsReasonAndItsWayToSent) {
  storage::LaneUpdate failed = update();
  failed.frontiers = {{0, 4}};
  storage::DeadLetter letter;
  letter.position = {0, 2};
  letter.tenant = "shop";
  letter.event_id = "two";
  letter.attempts = 1;
  letter.status = 422;
  letter.reason = "http_422";
  letter.detail = "no such product";
  letter.failed_ms = 1'700'000'000'000;
  failed.dead_letters = {letter};
  failed.counts.failed = 1;
  storage::DeliveryRow row;
  row.batch_number = 5;
  row.first = row.last = 2;
  row.status = 422;
  row.finished_ms = 1'700'000'000'000;
  failed.deliveries = {row};
  mark(failed);
  EXPECT_THAT(ask("two"),
              AllOf(HasSubstr(R"("saas":{"state":"failed","reason":"http_422")"),
                    HasSubstr(R"("last_error":"no such product")"), HasSubstr(R"("failed_id":1)")));
  storage::LaneUpdate requeued = update();
  requeued.dead_letter_changes = {{1, storage::LaneUpdate::DeadLetterChange::Kind::kRequeued, {}}};
  mark(requeued);
  EXPECT_THAT(ask("two"), HasSubstr(R"("saas":{"state":"pending","reason":"requeued")"));
  storage::LaneUpdate sent = update();
  sent.dead_letter_changes = {{1, storage::LaneUpdate::DeadLetterChange::Kind::kSent, {}}};
  row.batch_number = 0;
  row.attempts = 3;
  row.status = 200;
  sent.deliveries = {row};
  mark(sent);
  EXPECT_THAT(ask("two"), AllOf(HasSubstr(R"("saas":{"state":"sent")"),
                                HasSubstr("requeued after it had failed"),
                                HasSubstr(R"("attempts":3)"), HasSubstr(R"("status":200)")));
}

TEST_F(LedgerTest, AnExpiredRangeIsToldWithItsReasonAndPendingOnceRequeued) {
  storage::LaneUpdate gone = update();
  gone.frontiers = {{0, 4}};
  gone.expired = {{0, 1, 3, 3, 1'700'000'000'000, "retry_window"}};
  gone.counts.expired = 3;
  mark(gone);
  EXPECT_THAT(ask("two"), HasSubstr(R"("saas":{"state":"expired","reason":"retry_window")"));
  ASSERT_EQ(*store_->requeue_expired("saas", *store_->expired("saas")), 3u);
  EXPECT_THAT(ask("two"), HasSubstr(R"("saas":{"state":"pending","reason":"requeued")"));
}

}  // namespace
}  // namespace weir::admin
