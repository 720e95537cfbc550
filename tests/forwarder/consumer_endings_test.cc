// What becomes of leases: acknowledged, given back, rejected, released, renewed, exhausted, moved.
#include <gmock/gmock.h>

#include "forwarder/limits.h"
#include "tests/forwarder/consumer_fixture.h"

namespace weir::forwarder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(ConsumerTest, AnAckIsDurableBeforeItIsAnswered) {
  open();
  store->append_many(3, "e");
  PullCall& lease = ask_lease();
  store->hold_marks(true);
  PullCall& acked = ack(lease.lease);
  EXPECT_FALSE(answered(acked));
  store->hold_marks(false);
  turn();
  ASSERT_TRUE(answered(acked));
  EXPECT_EQ(acked.acked, 3u);
  EXPECT_EQ(state().counts.sent, 3u);
  EXPECT_EQ(state().tenants.at("acme").sent, 3u);
  EXPECT_EQ(open_ranges(), 0u);
  EXPECT_EQ(store->disk().deliveries.back().attempts, 1u);
}

TEST_F(ConsumerTest, ARepeatedAckGetsTheSameAnswerAlsoWhileTheFirstIsOnItsWayAndAfterARestart) {
  open();
  store->append_many(5, "e");
  PullCall& lease = ask_lease();
  store->hold_marks(true);
  PullCall& first = ack(lease.lease, {{at(2), 1000}});
  PullCall& second = ack(lease.lease);
  EXPECT_FALSE(answered(first) || answered(second));
  store->hold_marks(false);
  turn();
  crash();
  PullCall& third = ack(lease.lease);
  for (const PullCall* call : {&first, &second, &third}) {
    ASSERT_TRUE(answered(*call));
    EXPECT_TRUE(call->status);
    EXPECT_EQ(call->acked, 4u);
    EXPECT_EQ(call->nacked, 1u);
  }
  EXPECT_EQ(state().counts.sent, 4u);
}

TEST_F(ConsumerTest, AnAckOfALeaseNobodyHoldsIsRefused) {
  open();
  store->append_many(1, "e");
  PullCall& lease = ask_lease();
  for (const std::string& text : {std::string(), std::string("x"), lease.lease + "0",
                                  store->batch_id(99), "other" + lease.lease}) {
    PullCall& refused = ack(text);
    EXPECT_EQ(refused.code, "lease_expired") << text;
    EXPECT_EQ(refused.status.error().code, ErrorCode::kBusy);
  }
  EXPECT_EQ(ack(lease.lease).acked, 1u);
}

TEST_F(ConsumerTest, ALeaseThatIsUnknownAfterACrashBeforeItWasDurableIsHandedOutAnew) {
  open();
  store->append_many(2, "e");
  store->hold_marks(true);
  ask_lease();
  crash();
  PullCall& lease = ask_lease();
  EXPECT_THAT(ids(lease), ElementsAre("e0", "e1"));
  EXPECT_EQ(lease.delivery, 1u);
}

TEST_F(ConsumerTest, AnAckLostInACrashIsSentAgain) {
  open();
  store->append_many(2, "e");
  PullCall& lease = ask_lease();
  store->hold_marks(true);
  PullCall& lost = ack(lease.lease);
  EXPECT_FALSE(answered(lost));
  crash();
  EXPECT_EQ(ack(lease.lease).acked, 2u);
  EXPECT_EQ(state().counts.sent, 2u);
}

TEST_F(ConsumerTest, NackedEventsComeAgainAfterTheirDelayAndNothingElseDoes) {
  open();
  store->append_many(6, "e");
  PullCall& lease = ask_lease();
  PullCall& done = ack(lease.lease, {{at(2), 60'000}, {at(3), 60'000}, {at(5), 0}});
  EXPECT_EQ(done.acked, 3u);
  EXPECT_EQ(done.nacked, 3u);
  EXPECT_EQ(open_ranges(), 2u);  // neighbours with the same delay share a range
  PullCall& now = ask_lease();
  EXPECT_THAT(ids(now), ElementsAre("e4"));
  EXPECT_EQ(now.delivery, 2u);
  EXPECT_TRUE(ask_lease().empty);
  pass_ms(60'000);
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e1", "e2"));
}

TEST_F(ConsumerTest, ADelaySurvivesARestart) {
  open();
  store->append_many(2, "e");
  ack(ask_lease().lease, {{at(1), 60'000}});
  clock.advance_ms(30'000);
  crash();
  pass_ms(29'000);
  EXPECT_TRUE(ask_lease().empty);
  pass_ms(1'000);
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e0"));
}

TEST_F(ConsumerTest, RejectedEventsBecomeDeadLettersUnderAHarmlessReason) {
  open();
  store->append_many(3, "e");
  PullCall& lease = ask_lease();
  PullCall& done = ack(lease.lease, {}, {{at(2), "Bad price\n\"x\""}});
  EXPECT_EQ(done.acked, 2u);
  EXPECT_EQ(done.rejected, 1u);
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].event_id, "e1");
  EXPECT_EQ(letters()[0].reason, "bad_price__x_");
  EXPECT_EQ(letters()[0].detail, "Bad price\n\"x\"");
  EXPECT_EQ(letters()[0].attempts, 1u);
  EXPECT_EQ(state().counts.failed, 1u);
  EXPECT_EQ(state().tenants.at("acme").failed, 1u);
}

TEST_F(ConsumerTest, ReasonsAreABoundedNumber) {
  open();
  store->append_many(100, "e");
  PullCall& lease = ask_lease();
  std::vector<PullCall::Reject> rejects;
  for (uint64_t i = 1; i <= 100; ++i) rejects.push_back({at(i), "reason" + std::to_string(i)});
  ack(lease.lease, {}, rejects);
  std::set<std::string> reasons;
  for (const auto& letter : letters()) reasons.insert(letter.reason);
  EXPECT_EQ(letters().size(), 100u);
  EXPECT_EQ(reasons.size(), kMaxRejectReasons + 1);
  EXPECT_TRUE(reasons.contains("rejected"));
}

TEST_F(ConsumerTest, AnAckThatNamesAnEventOfAnotherLeaseChangesNothing) {
  open();
  store->append_many(4, "e");
  PullCall& lease = ask_lease(2);
  ask_lease(2);
  PullCall& wrong = ack(lease.lease, {{at(1), 0}, {at(3), 0}});
  EXPECT_EQ(wrong.status.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(wrong.status.error().message, HasSubstr("0-3"));
  EXPECT_EQ(ack(lease.lease).acked, 2u);
}

TEST_F(ConsumerTest, AReleasedLeaseIsHandedOutAtOnceAndDoesNotCountAsADelivery) {
  open();
  store->append_many(2, "e");
  PullCall& lease = ask_lease();
  PullCall& done = release(lease.lease);
  EXPECT_EQ(done.released, 2u);
  EXPECT_EQ(release(lease.lease).released, 2u);
  EXPECT_EQ(ack(lease.lease).code, "lease_ended");
  PullCall& again = ask_lease();
  EXPECT_THAT(ids(again), ElementsAre("e0", "e1"));
  EXPECT_EQ(again.delivery, 1u);
}

TEST_F(ConsumerTest, ARenewedLeaseLastsFromNow) {
  open();
  store->append_many(2, "e");
  PullCall& lease = ask_lease();
  pass_ms(200'000);
  PullCall& renewed = renew(lease.lease);
  EXPECT_EQ(renewed.expires_ms, clock.wall_ms() + 300'000);
  pass_ms(299'000);
  EXPECT_TRUE(ask_lease().empty);
  crash();
  EXPECT_EQ(ack(lease.lease).acked, 2u);
  EXPECT_EQ(renew(lease.lease).code, "lease_ended");
}

TEST_F(ConsumerTest, AfterMaxDeliveriesEventsBecomeDeadLetters) {
  consumer_options.max_deliveries = 2;
  open();
  store->append_many(3, "e");
  ask_lease();
  pass_ms(300'000);
  PullCall& last = ask_lease();
  EXPECT_EQ(last.delivery, 2u);
  pass_ms(300'000);
  EXPECT_TRUE(ask_lease().empty);
  ASSERT_EQ(letters().size(), 3u);
  EXPECT_EQ(letters()[0].reason, "max_deliveries");
  EXPECT_EQ(letters()[0].attempts, 2u);
  EXPECT_EQ(state().counts.failed, 3u);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(ConsumerTest, ANackAtTheLastDeliveryIsADeadLetter) {
  consumer_options.max_deliveries = 1;
  open();
  store->append_many(2, "e");
  PullCall& done = ack(ask_lease().lease, {{at(1), 0}});
  EXPECT_EQ(done.acked, 1u);
  EXPECT_EQ(done.nacked, 0u);
  EXPECT_EQ(done.dead_lettered, 1u);
  EXPECT_EQ(letters().at(0).reason, "max_deliveries");
}

TEST_F(ConsumerTest, AnEventThatKillsItsReaderStandsAloneBeforeItsDeliveriesEnd) {
  open();
  store->append_many(64, "e");
  const std::string poison = "e37";
  int rounds = 0;
  while (state().counts.sent + state().counts.failed < 64 && rounds++ < 500) {
    PullCall& lease = ask_lease(64);
    if (lease.empty) {
      pass_ms(300'000);
      continue;
    }
    const auto all = ids(lease);
    const bool dies = std::find(all.begin(), all.end(), poison) != all.end();
    if (dies)
      pass_ms(300'000);
    else
      ack(lease.lease);
  }
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].event_id, poison);
  EXPECT_EQ(state().counts.sent, 63u);
}

TEST_F(ConsumerTest, WhenADeadLetterCannotBeWrittenItIsTriedAgain) {
  consumer_options.max_deliveries = 1;
  open();
  store->append_many(1, "e");
  ask_lease();
  store->fail_marks(Error{ErrorCode::kLimit, 0, "dead_letter_max is reached"});
  pass_ms(300'000);
  EXPECT_EQ(letters().size(), 0u);
  store->fail_marks(std::nullopt);
  pass_ms(1'000);
  pass_ms(1'000);
  EXPECT_EQ(letters().size(), 1u);
}

TEST_F(ConsumerTest, SeekToTheBeginningHandsEverythingOutAgain) {
  open();
  store->append_many(3, "e");
  ack(ask_lease(2).lease);
  PullCall& held = ask_lease(1);
  PullCall& moved = seek({});
  EXPECT_THAT(moved.positions, ElementsAre(at(1)));
  EXPECT_EQ(ack(held.lease).code, "lease_expired");
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e0", "e1", "e2"));
}

TEST_F(ConsumerTest, SeekToTheEndPassesOverWhatWaitsAndCountsIt) {
  open();
  store->append_many(3, "e");
  ask_lease(1);
  SeekTarget target;
  target.kind = SeekTarget::Kind::kLatest;
  seek(target);
  EXPECT_TRUE(ask_lease().empty);
  EXPECT_EQ(state().counts.skipped, 3u);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(ConsumerTest, SeekToATimeFindsTheFirstEventReceivedSince) {
  open();
  for (int i = 0; i < 10; ++i)
    store->append(make_payload({.id = "e" + std::to_string(i)}), 1'000'000 + i * 1'000);
  SeekTarget target;
  target.kind = SeekTarget::Kind::kTime;
  target.wall_ms = 1'006'500;
  EXPECT_THAT(seek(target).positions, ElementsAre(at(8)));
  target.wall_ms = 1'006'000;
  EXPECT_THAT(seek(target).positions, ElementsAre(at(7)));
  target.wall_ms = 0;
  EXPECT_THAT(seek(target).positions, ElementsAre(at(1)));
  target.wall_ms = 9'000'000;
  EXPECT_THAT(seek(target).positions, ElementsAre(at(11)));
}

TEST_F(ConsumerTest, AShardThatASeekDoesNotNameKeepsWhatItHasNotFinished) {
  FakeDisk disk;
  disk.shards.resize(2);
  disk.ends.resize(2, 1);
  open(std::move(disk));
  store->append_many(3, "a", {}, 0);
  store->append_many(3, "b", {}, 1);
  PullCall& lease = ask_lease();
  ack(lease.lease, {{at(2, 1), 0}});
  SeekTarget target;
  target.kind = SeekTarget::Kind::kPositions;
  target.positions = {at(3)};
  EXPECT_THAT(seek(target).positions, ElementsAre(at(3), at(2, 1)));
  EXPECT_THAT(ids(ask_lease()), ::testing::UnorderedElementsAre("a2", "b1", "b2"));
}

TEST_F(ConsumerTest, SeekIsCutToWhatIsThere) {
  open();
  store->append_many(5, "e");
  store->lose(1, 2);
  SeekTarget target;
  target.kind = SeekTarget::Kind::kPositions;
  target.positions = {at(1)};
  EXPECT_THAT(seek(target).positions, ElementsAre(at(3)));
  target.positions = {at(900)};
  EXPECT_THAT(seek(target).positions, ElementsAre(at(6)));
}

}  // namespace
}  // namespace weir::forwarder::testing
