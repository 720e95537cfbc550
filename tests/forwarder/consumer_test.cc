// Handing out: what a lease holds, when it expires, what a restart and a jumping clock leave of it.
#include "forwarder/consumer.h"

#include <gmock/gmock.h>

#include "tests/forwarder/consumer_fixture.h"
#include "tests/forwarder/inflate.h"

namespace weir::forwarder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST_F(ConsumerTest, ALeaseIsDurableBeforeItsEventsAreHandedOut) {
  open();
  store->append_many(5, "e");
  store->hold_marks(true);
  PullCall& call = ask_lease();
  EXPECT_FALSE(answered(call));
  store->hold_marks(false);
  turn();
  ASSERT_TRUE(answered(call));
  EXPECT_THAT(ids(call), ElementsAre("e0", "e1", "e2", "e3", "e4"));
  EXPECT_EQ(call.delivery, 1u);
  const auto range = state().shards[0].open.begin()->second;
  EXPECT_EQ(range.state, storage::RangeState::kLeased);
  EXPECT_THAT(range.owner, HasSubstr("tester"));
  EXPECT_EQ(call.lease, store->batch_id(range.number));
}

TEST_F(ConsumerTest, TheBodyHasItsShape) {
  open();
  store->append_many(1, "e");
  PullCall& call = ask_lease();
  EXPECT_THAT(call.body, StartsWith("{\"lease\":\"" + call.lease + "\",\"expires_at\":\"" +
                                    format_rfc3339_ms(clock.wall_ms() + 300'000) +
                                    "\",\"delivery\":1,\"node\":\"edge\",\"store_id\":\"" +
                                    store->id().text() + "\",\"events\":[{\"id\":\"e0\""));
  EXPECT_THAT(call.body, HasSubstr("],\"backlog\":{\"events\":0,\"oldest_seconds\":0}}"));
}

TEST_F(ConsumerTest, NdjsonIsOneEventALineAndCompressionIsAsAsked) {
  open();
  store->append_many(3, "e");
  PullCall& call = new_call(PullKind::kLease);
  call.format = BodyFormat::kNdjson;
  call.compression = Compression::kGzip;
  consumer->lease(call);
  turn();
  const std::string text = gunzip(call.body);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, StartsWith("{\"id\":\"e0\""));
}

TEST_F(ConsumerTest, TwoLeasesNeverShareAnEvent) {
  open();
  store->append_many(10, "e");
  EXPECT_THAT(ids(ask_lease(4)), ElementsAre("e0", "e1", "e2", "e3"));
  EXPECT_THAT(ids(ask_lease(4)), ElementsAre("e4", "e5", "e6", "e7"));
  EXPECT_THAT(ids(ask_lease(4)), ElementsAre("e8", "e9"));
  EXPECT_TRUE(ask_lease(4).empty);
}

TEST_F(ConsumerTest, MaxBytesBoundsALeaseButOneEventAlwaysFits) {
  open();
  TestEvent large;
  large.raw = "{\"p\":\"" + std::string(1000, 'x') + "\"}";
  store->append_many(4, "e", large);
  PullCall& call = new_call(PullKind::kLease);
  call.max_bytes = 2300;
  consumer->lease(call);
  turn();
  EXPECT_THAT(ids(call), ElementsAre("e0", "e1"));
  PullCall& one = new_call(PullKind::kLease);
  one.max_bytes = 1;
  consumer->lease(one);
  turn();
  EXPECT_THAT(ids(one), ElementsAre("e2"));
}

TEST_F(ConsumerTest, WithNothingThereItWaitsForACommitOrItsTime) {
  open();
  PullCall& late = ask_lease(10, 1000);
  PullCall& lucky = ask_lease(10, 60'000);
  EXPECT_FALSE(answered(late));
  pass_ms(1000);
  ASSERT_TRUE(answered(late));
  EXPECT_TRUE(late.empty);
  EXPECT_FALSE(answered(lucky));
  store->append_many(1, "e");
  turn();
  ASSERT_TRUE(answered(lucky));
  EXPECT_THAT(ids(lucky), ElementsAre("e0"));
}

TEST_F(ConsumerTest, ACancelledRequestGetsNothing) {
  open();
  PullCall& gone = ask_lease(10, 60'000);
  PullCall& here = ask_lease(10, 60'000);
  gone.cancelled = true;
  store->append_many(2, "e");
  turn();
  EXPECT_TRUE(gone.empty);
  EXPECT_THAT(ids(here), ElementsAre("e0", "e1"));
}

TEST_F(ConsumerTest, AnExpiredLeaseIsHandedOutAgainWithItsCount) {
  open();
  store->append_many(3, "e");
  PullCall& first = ask_lease();
  pass_ms(299'000);
  EXPECT_TRUE(ask_lease().empty);
  pass_ms(1'000);
  PullCall& second = ask_lease();
  EXPECT_THAT(ids(second), ElementsAre("e0", "e1", "e2"));
  EXPECT_EQ(second.delivery, 2u);
  EXPECT_NE(second.lease, first.lease);
  EXPECT_EQ(ack(first.lease).code, "lease_expired");
  EXPECT_EQ(ack(second.lease).acked, 3u);
}

TEST_F(ConsumerTest, AWaitingServerGetsWhatExpiresMeanwhile) {
  open();
  store->append_many(1, "e");
  ask_lease();
  PullCall& waiting = ask_lease(10, 60'000);
  pass_ms(250'000);
  EXPECT_TRUE(waiting.empty);
  PullCall& later = ask_lease(10, 60'000);
  EXPECT_LE(consumer->deadline_ns(), clock.monotonic_ns() + 50'000'000'000);
  pass_ms(50'000);
  EXPECT_THAT(ids(later), ElementsAre("e0"));
}

TEST_F(ConsumerTest, ALeaseSurvivesARestart) {
  open();
  store->append_many(4, "e");
  PullCall& first = ask_lease(2);
  clock.advance_ms(100'000);
  crash();
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e2", "e3"));
  EXPECT_EQ(ack(first.lease).acked, 2u);
  EXPECT_EQ(state().counts.sent, 2u);
}

TEST_F(ConsumerTest, ALeaseExpiresWhileTheProcessIsAway) {
  open();
  store->append_many(2, "e");
  PullCall& first = ask_lease();
  crash(301'000);
  turn();
  PullCall& second = ask_lease();
  EXPECT_THAT(ids(second), ElementsAre("e0", "e1"));
  EXPECT_EQ(second.delivery, 2u);
  EXPECT_EQ(ack(first.lease).code, "lease_expired");
}

TEST_F(ConsumerTest, AWallClockThatJumpsBackNeitherShortensNorLengthensALease) {
  open();
  store->append_many(2, "e");
  PullCall& first = ask_lease();
  clock.set_wall_ms(clock.wall_ms() - 3'600'000);
  pass_ms(299'000);
  EXPECT_TRUE(ask_lease().empty);
  pass_ms(1'000);
  EXPECT_EQ(ask_lease().delivery, 2u);
  EXPECT_EQ(ack(first.lease).code, "lease_expired");
}

TEST_F(ConsumerTest, AfterARestartWithTheClockAnHourBackALeaseLastsNoLongerThanItsLength) {
  open();
  store->append_many(2, "e");
  PullCall& first = ask_lease();
  crash(-3'600'000);
  pass_ms(299'000);
  EXPECT_TRUE(ask_lease().empty);
  EXPECT_EQ(ack(first.lease).acked, 2u);
  store->append_many(1, "f");
  ask_lease();
  crash(-3'600'000);
  pass_ms(300'000);
  EXPECT_EQ(ask_lease().delivery, 2u);
}

TEST_F(ConsumerTest, FilteredAndSandboxEventsArePassedOverAndCounted) {
  consumer_options.filter_names = {"keep"};
  open();
  store->append_many(1, "keep", {.name = "keep"});
  store->append_many(3, "skip", {.name = "skip"});
  store->append_many(2, "box", {.name = "keep", .sandbox = true});
  store->append_many(1, "last", {.name = "keep"});
  PullCall& call = ask_lease();
  EXPECT_THAT(ids(call), ElementsAre("keep0", "last0"));
  EXPECT_EQ(ack(call.lease).acked, 2u);
  EXPECT_EQ(state().counts.skipped, 5u);
  EXPECT_EQ(state().counts.sent, 2u);
  EXPECT_EQ(state().shards[0].low(), 8u);
}

TEST_F(ConsumerTest, SandboxEventsGoToAConsumerThatAsksForThem) {
  consumer_options.sandbox = true;
  open();
  store->append_many(2, "box", {.sandbox = true});
  EXPECT_THAT(ids(ask_lease()), ElementsAre("box0", "box1"));
}

TEST_F(ConsumerTest, WhenNothingIsWantedThePositionMovesOnceASecond) {
  consumer_options.filter_names = {"keep"};
  open();
  store->append_many(3, "skip", {.name = "skip"});
  PullCall& call = ask_lease(10, 60'000);
  EXPECT_EQ(state().shards[0].frontier, 1u);
  pass_ms(1'000);
  EXPECT_EQ(state().shards[0].frontier, 4u);
  EXPECT_FALSE(answered(call));
}

TEST_F(ConsumerTest, AtTheBoundOfOpenRangesNothingNewIsLeasedUntilSomeClose) {
  consumer_options.max_open_ranges = 3;
  open();
  store->append_many(10, "e");
  std::vector<std::string> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(ask_lease(1).lease);
  PullCall& blocked = ask_lease(1, 60'000);
  EXPECT_FALSE(answered(blocked));
  ack(leases[0]);
  ASSERT_TRUE(answered(blocked));
  EXPECT_THAT(ids(blocked), ElementsAre("e3"));
}

TEST_F(ConsumerTest, BodiesThatWereNotHandedOverHoldBackFurtherOnes) {
  open();
  store->append_many(4, "e");
  memory = options.max_memory_bytes;
  PullCall& call = ask_lease(2, 60'000);
  EXPECT_FALSE(answered(call));
  EXPECT_TRUE(consumer->gated());
  memory = 0;
  turn();
  EXPECT_THAT(ids(call), ElementsAre("e0", "e1"));
}

TEST_F(ConsumerTest, AllStoreShardsAreHandedOut) {
  FakeDisk disk;
  disk.shards.resize(2);
  disk.ends.resize(2, 1);
  open(std::move(disk));
  store->append_many(2, "a", {}, 0);
  store->append_many(2, "b", {}, 1);
  PullCall& call = ask_lease();
  EXPECT_THAT(ids(call), ::testing::UnorderedElementsAre("a0", "a1", "b0", "b1"));
  EXPECT_EQ(open_ranges(), 2u);
  EXPECT_EQ(ack(call.lease).acked, 4u);
  EXPECT_EQ(state().shards[0].low(), 3u);
  EXPECT_EQ(state().shards[1].low(), 3u);
}

TEST_F(ConsumerTest, WhatIsLeftOfAnExpiredLeaseStaysForTheNext) {
  open();
  store->append_many(6, "e");
  ask_lease(6);
  pass_ms(300'000);
  EXPECT_THAT(ids(ask_lease(2)), ElementsAre("e0", "e1"));
  EXPECT_THAT(ids(ask_lease(100)), ElementsAre("e2", "e3", "e4", "e5"));
}

TEST_F(ConsumerTest, AFailedMarkIsAnsweredAndTheStateIsReadAnew) {
  open();
  store->append_many(2, "e");
  store->fail_marks(Error{ErrorCode::kNoSpace, 0, "state is full"});
  PullCall& failed = ask_lease();
  EXPECT_FALSE(failed.status);
  EXPECT_THAT(failed.body, IsEmpty());
  store->fail_marks(std::nullopt);
  pass_ms(1'000);
  EXPECT_THAT(ids(ask_lease()), ElementsAre("e0", "e1"));
  EXPECT_EQ(memory, 0u);
}

TEST_F(ConsumerTest, EventsThatAreGoneFromTheStoreClose) {
  open();
  store->append_many(3, "e");
  ask_lease();
  store->lose(1, 3);
  pass_ms(300'000);
  EXPECT_TRUE(ask_lease().empty);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(ConsumerTest, WhatTheStoreGaveUpIsForgotten) {
  open();
  store->append_many(6, "e");
  PullCall& old = ask_lease(3);
  store->set_floor(0, 5);
  PullCall& call = ask_lease();
  EXPECT_THAT(ids(call), ElementsAre("e4", "e5"));
  turn();
  EXPECT_EQ(ack(old.lease).code, "lease_expired");
}

// What counts as expired is not handed out as well, though it is still on disk.
TEST_F(ConsumerTest, WhatWasGivenUpWhileTheConsumerWasAwayIsNotHandedOut) {
  open();
  store->append_many(8, "e");
  store->set_floor(0, 4);
  PullCall& part = ask_lease(5);  // 1 to 5 are read, 4 and 5 are left
  EXPECT_THAT(ids(part), ElementsAre("e3", "e4"));
  EXPECT_EQ(part.delivery, 1u);
  EXPECT_EQ(ack(part.lease).acked, 2u);
  store->set_floor(0, 8);
  PullCall& none = ask_lease(2);  // 6 and 7 are gone as a whole
  EXPECT_THAT(ids(none), ElementsAre("e7"));
  EXPECT_EQ(ack(none.lease).acked, 1u);
  EXPECT_EQ(open_ranges(), 0u);
  EXPECT_EQ(state().counts.sent, 3u);
  EXPECT_EQ(memory, 0u);
}

TEST_F(ConsumerTest, WhatIsGivenUpBeforeALeaseIsDurableIsNotHandedOut) {
  open();
  store->append_many(4, "e");
  store->hold_marks(true);
  PullCall& call = ask_lease(4);
  ASSERT_FALSE(answered(call));
  store->set_floor(0, 5);  // everything there is
  store->hold_marks(false);
  turn();
  ASSERT_TRUE(answered(call));
  EXPECT_TRUE(call.empty);
  EXPECT_EQ(open_ranges(), 0u);
}

TEST_F(ConsumerTest, ActivityIsDurableNowAndThen) {
  consumer_options.lane.max_idle_ms = 100'000;
  open();
  clock.advance_ms(50'000);
  ask_lease();
  EXPECT_EQ(state().active_ms, clock.wall_ms());
  const int64_t noted = state().active_ms;
  pass_ms(5'000);
  ask_lease();
  EXPECT_EQ(state().active_ms, noted);
}

}  // namespace
}  // namespace weir::forwarder::testing
