// The lane's promises, one by one: what is durable when, what is sent again, what holds back what.
#include "forwarder/lane.h"

#include "forwarder/limits.h"
#include "tests/forwarder/lane_fixture.h"

namespace weir::forwarder::testing {
namespace {

constexpr int64_t kHourMs = 3'600'000;

TEST_F(LaneTest, AFullBatchLeavesAtOnceAPartialOneAfterTheLinger) {
  open();
  store->append_many(13, "e");
  turn();
  ASSERT_EQ(destination->seen.size(), 1u);
  EXPECT_EQ(destination->seen[0].ids.size(), 10u);
  pass_ms(199);
  EXPECT_EQ(destination->seen.size(), 1u);
  pass_ms(1);
  ASSERT_EQ(destination->seen.size(), 2u);
  EXPECT_EQ(destination->seen[1].ids, (std::vector<std::string>{"e10", "e11", "e12"}));
}

TEST_F(LaneTest, TheNextTurnIsAskedForWhenTheLingerEnds) {
  open();
  store->append_many(1, "e");
  turn();
  EXPECT_EQ(lane->deadline_ns(), clock.monotonic_ns() + 200'000'000);
  pass_ms(200);
  EXPECT_EQ(lane->deadline_ns(), INT64_MAX);  // only an answer brings news now
}

TEST_F(LaneTest, NothingIsSentBeforeItsRangeIsDurable) {
  open();
  store->hold_marks(true);
  store->append_many(10, "e");
  turn();
  EXPECT_EQ(destination->seen.size(), 0u);
  store->hold_marks(false);
  turn();
  EXPECT_EQ(destination->seen.size(), 1u);
  const auto open_ranges = state().shards[0].open;
  ASSERT_EQ(open_ranges.size(), 1u);
  EXPECT_EQ(open_ranges.begin()->second.first, 1u);
  EXPECT_EQ(open_ranges.begin()->second.last, 10u);
  EXPECT_EQ(destination->seen[0].batch_id, store->batch_id(open_ranges.begin()->first));
}

TEST_F(LaneTest, ADeliveredBatchIsClosedCountedAndLeavesARow) {
  open();
  TestEvent event;
  store->append_many(6, "a", event);
  event.tenant = "other";
  store->append_many(4, "b", event);
  turn();
  destination->answer(204);
  turn();
  EXPECT_TRUE(state().shards[0].open.empty());
  EXPECT_EQ(state().shards[0].frontier, 11u);
  EXPECT_EQ(state().counts.sent, 10u);
  EXPECT_EQ(state().tenants.at("acme").sent, 6u);
  EXPECT_EQ(state().tenants.at("other").sent, 4u);
  const FakeDisk disk = store->disk();
  ASSERT_EQ(disk.deliveries.size(), 1u);
  EXPECT_EQ(disk.deliveries[0].first, 1u);
  EXPECT_EQ(disk.deliveries[0].last, 10u);
  EXPECT_EQ(disk.deliveries[0].attempts, 1u);
  EXPECT_EQ(disk.deliveries[0].status, 204);
}

TEST_F(LaneTest, SeveralBatchesAreInFlightAndMarksArePipelined) {
  open();
  store->append_many(60, "e");
  turn();
  EXPECT_EQ(destination->in_flight(), options.concurrency);
  store->hold_marks(true);
  destination->answer(200);
  turn();
  // The next one was durable already and goes out although no mark came back.
  EXPECT_EQ(destination->in_flight(), options.concurrency);
  EXPECT_EQ(destination->seen.size(), 3u);
  store->hold_marks(false);
  deliver_all();
  EXPECT_EQ(state().counts.sent, 60u);
  EXPECT_EQ(sent_ids().size(), 60u);
}

TEST_F(LaneTest, ACrashBetweenSendAndMarkSendsTheSameBatchAgain) {
  open();
  store->append_many(10, "e");
  turn();
  ASSERT_EQ(destination->seen.size(), 1u);
  const FakeDestination::Seen before = destination->seen[0];
  store->hold_marks(true);
  destination->answer(200);
  turn();
  crash();
  turn();
  ASSERT_EQ(destination->seen.size(), 1u);
  EXPECT_EQ(destination->seen[0].batch_id, before.batch_id);
  EXPECT_EQ(destination->seen[0].body, before.body);
  deliver_all();
  EXPECT_EQ(state().counts.sent, 10u);
}

TEST_F(LaneTest, ACrashBeforeTheRangeIsDurableSendsEachEventOnce) {
  open();
  store->hold_marks(true);
  store->append_many(10, "e");
  turn();
  crash();
  deliver_all();
  EXPECT_EQ(sent_ids().size(), 10u);
  EXPECT_EQ(state().counts.sent, 10u);
}

TEST_F(LaneTest, AttemptsAndFirstAttemptSurviveARestart) {
  open();
  store->append_many(10, "e");
  turn();
  const int64_t first = clock.wall_ms();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(destination->in_flight(), 1u) << i;
    destination->answer(503);
    turn();
    pass_ms(10'000);
  }
  crash();
  const storage::OpenRange range = state().shards[0].open.begin()->second;
  EXPECT_EQ(range.attempts, 3u);
  EXPECT_EQ(range.first_attempt_ms, first);
  EXPECT_EQ(range.last_error, "HTTP 503: said no");
  EXPECT_EQ(lane->status().attempts, 3u);
  pass_ms(10'000);
  destination->answer(200);
  turn();
  EXPECT_EQ(store->disk().deliveries.at(0).attempts, 4u);
}

TEST_F(LaneTest, ThePauseSurvivesARestart) {
  open();
  store->append_many(10, "e");
  turn();
  destination->answer(503, "60");
  turn();
  crash();
  turn();
  EXPECT_EQ(destination->in_flight(), 0u);
  pass_ms(59'999);
  EXPECT_EQ(destination->in_flight(), 0u);
  pass_ms(1'000);
  EXPECT_EQ(destination->in_flight(), 1u);
}

TEST_F(LaneTest, AClockThatJumpsBackAnHourDelaysNothingAndExpiresNothing) {
  constexpr int64_t kHour = 3'600'000;
  options.retry.cap_ms = 1'000;
  options.retry.window_ms = kHour / 2;
  open();
  store->append_many(10, "e");
  turn();
  destination->answer(503);
  turn();
  clock.set_wall_ms(clock.wall_ms() - kHour);
  pass_ms(1'000);
  ASSERT_EQ(destination->in_flight(), 1u);  // pauses are monotonic
  destination->answer(503);
  turn();
  crash();  // what is durable was written with both clocks
  pass_ms(1'000);
  ASSERT_EQ(destination->in_flight(), 1u);
  destination->answer(200);
  turn();
  EXPECT_EQ(state().counts.sent, 10u);
  EXPECT_EQ(state().counts.expired, 0u);
}

TEST_F(LaneTest, APauseWrittenBeforeTheClockJumpedBackIsNotAnHourLonger) {
  options.retry.cap_ms = 1'000;
  open();
  store->append_many(10, "e");
  turn();
  destination->answer(503);
  turn();
  clock.set_wall_ms(clock.wall_ms() - 3'600'000);
  crash();
  pass_ms(1'000);
  EXPECT_EQ(destination->in_flight(), 1u);
}

TEST_F(LaneTest, FilteredAndSandboxEventsAreSkippedAndCounted) {
  options.filter_names = {"purchase", "signup"};
  options.filter_tenants = {"acme"};
  open();
  store->append_many(30, "view");
  store->append_many(3, "buy", {.name = "purchase"});
  store->append_many(2, "other", {.name = "purchase", .tenant = "other"});
  store->append_many(1, "test", {.name = "signup", .sandbox = true});
  deliver_all();
  EXPECT_EQ(sent_ids(), (std::multiset<std::string>{"buy0", "buy1", "buy2"}));
  EXPECT_EQ(state().counts.sent, 3u);
  EXPECT_EQ(state().counts.skipped, 33u);
  EXPECT_EQ(state().tenants.at("acme").skipped, 31u);
  EXPECT_EQ(state().tenants.at("other").skipped, 2u);
  EXPECT_EQ(state().shards[0].frontier, 37u);
  EXPECT_TRUE(state().shards[0].open.empty());
}

TEST_F(LaneTest, SkippedEventsInsideABatchAreCountedOnceAcrossACrash) {
  options.filter_names = {"purchase"};
  open();
  store->append_many(3, "buy", {.name = "purchase"});
  store->append_many(2, "view");
  store->append_many(3, "more", {.name = "purchase"});
  turn();
  pass_ms(200);
  const auto before = destination->seen.at(0);
  crash();
  turn();
  EXPECT_EQ(destination->seen.at(0).body, before.body);
  deliver_all();
  EXPECT_EQ(state().counts.skipped, 2u);
  EXPECT_EQ(state().counts.sent, 6u);
}

TEST_F(LaneTest, UndecodableRecordsBecomeDeadLettersOnce) {
  open();
  store->append_many(2, "a");
  store->append("\x01\xff\xff");
  store->append_many(2, "b");
  pass_ms(0);
  pass_ms(200);
  crash();
  deliver_all();
  EXPECT_EQ(sent_ids(), (std::multiset<std::string>{"a0", "a1", "b0", "b1"}));
  ASSERT_EQ(store->disk().letters.size(), 1u);
  const storage::DeadLetter letter = store->disk().letters.begin()->second;
  EXPECT_EQ(letter.reason, "undecodable");
  EXPECT_EQ(letter.position.number, 3u);
  EXPECT_EQ(letter.payload, "\x01\xff\xff");
  EXPECT_EQ(state().counts.failed, 1u);
}

TEST_F(LaneTest, GapsArePassedOverAndCounted) {
  open();
  store->append_many(20, "e");
  store->lose(4, 9);
  deliver_all();
  EXPECT_EQ(state().counts.sent, 14u);
  EXPECT_EQ(state().shards[0].frontier, 21u);
  EXPECT_TRUE(state().shards[0].open.empty());
  for (const auto& series : metrics.collect())
    if (series.metric == Metric::kForwardEvents && series.label_values[1] == "missing") {
      EXPECT_EQ(series.value, 6);
    }
}

TEST_F(LaneTest, ARangeOfWhichNothingIsLeftIsClosed) {
  open();
  store->append_many(10, "e");
  turn();
  destination->answer(503);
  turn();
  store->lose(1, 10);
  pass_ms(10'000);
  EXPECT_EQ(destination->in_flight(), 0u);
  EXPECT_TRUE(state().shards[0].open.empty());
  EXPECT_EQ(state().counts.sent, 0u);
}

TEST_F(LaneTest, EveryShardIsDrained) {
  store = nullptr;
  FakeDisk disk;
  disk.shards.resize(3);
  disk.ends = {1, 1, 1};
  open(std::move(disk));
  for (unsigned shard = 0; shard < 3; ++shard)
    store->append_many(25, "s" + std::to_string(shard) + "-", {}, shard);
  deliver_all();
  EXPECT_EQ(sent_ids().size(), 75u);
  EXPECT_EQ(state().counts.sent, 75u);
  for (const auto& shard : state().shards) EXPECT_EQ(shard.frontier, 26u);
}

TEST_F(LaneTest, BatchesAreCutByBytesToo) {
  options.batch.max_events = 1000;
  options.batch.max_bytes = 1000;
  open();
  TestEvent event;
  event.raw = "{\"pad\":\"" + std::string(300, 'x') + "\"}";
  store->append_many(9, "e", event);
  store->append(make_payload({.id = "huge", .raw = "{\"p\":\"" + std::string(5000, 'y') + "\"}"}));
  deliver_all();
  ASSERT_EQ(destination->seen.size(), 6u);  // 2 x 4, 1, and the one that is larger than a batch
  EXPECT_EQ(destination->seen[0].ids.size(), 2u);
  EXPECT_EQ(destination->seen[5].ids, std::vector<std::string>{"huge"});
  EXPECT_EQ(state().counts.sent, 10u);
}

TEST_F(LaneTest, MemoryIsBounded) {
  budget.limit = 1;
  open();
  store->append_many(100, "e");
  turn();
  EXPECT_EQ(destination->in_flight(), 1u);  // a lane always may hold one batch
  deliver_all();
  EXPECT_EQ(state().counts.sent, 100u);
  EXPECT_EQ(budget.used, 0u);
}

TEST_F(LaneTest, ABatchWithoutItsBodyDoesNotBlockOneThatHasIt) {
  options.concurrency = 1;
  budget.limit = 1;
  open();
  store->append_many(10, "a");
  turn();
  destination->answer(503);
  turn();
  store->append_many(10, "b");
  deliver_all();
  EXPECT_EQ(state().counts.sent, 20u);
}

TEST_F(LaneTest, ALaneThatCannotMarkStopsAndGoesOnWhenItCan) {
  open();
  store->append_many(20, "e");
  turn();
  store->fail_marks(Error{ErrorCode::kLimit, 0, "1000000 dead letters are kept"});
  destination->answer(400);
  turn();
  EXPECT_EQ(lane->status().state, "stopped");
  EXPECT_EQ(lane->status().last_error, "1000000 dead letters are kept");
  EXPECT_EQ(destination->in_flight(), 0u);
  EXPECT_EQ(budget.used, 0u);
  pass_ms(10'000);
  EXPECT_EQ(destination->in_flight(), 0u);
  store->fail_marks({});
  pass_ms(kStoppedRetryMs);
  EXPECT_GT(destination->in_flight(), 0u);
  deliver_all();
  EXPECT_EQ(state().counts.sent, 20u);
  EXPECT_EQ(state().counts.failed, 0u);
}

TEST_F(LaneTest, AFailedSyncOfTheStateIsFinal) {
  open();
  store->append_many(20, "e");
  turn();
  store->fail_marks(Error{ErrorCode::kIo, 5, "fdatasync of state failed"});
  destination->answer(200);
  turn();
  store->fail_marks({});
  pass_ms(kHourMs);
  EXPECT_EQ(lane->status().state, "stopped");
  EXPECT_EQ(destination->in_flight(), 0u);
}

TEST_F(LaneTest, AStoreThatCannotBeReadIsAskedAgain) {
  open();
  store->fail_reads(Error{ErrorCode::kIo, 5, "read failed"});
  store->append_many(10, "e");
  turn();
  EXPECT_EQ(destination->in_flight(), 0u);
  const size_t reads = store->reads();
  turn();
  EXPECT_EQ(store->reads(), reads);  // not in a loop
  store->fail_reads({});
  pass_ms(1'000);
  EXPECT_EQ(destination->in_flight(), 1u);
}

TEST_F(LaneTest, WhatTheStoreGaveUpIsForgotten) {
  open();
  store->append_many(40, "e");
  turn();
  ASSERT_EQ(destination->in_flight(), 2u);
  destination->answer(503);
  destination->answer(503);
  store->set_floor(0, 31);  // drop_oldest
  turn();
  deliver_all();
  EXPECT_TRUE(state().shards[0].open.empty());
  EXPECT_EQ(state().shards[0].frontier, 41u);
  for (const char* id : {"e35", "e39"}) EXPECT_EQ(sent_ids().count(id), 1u) << id;
}

TEST_F(LaneTest, WhatIsGivenUpBeforeItsBatchIsDurableIsNotSent) {
  open();
  store->append_many(25, "e");
  store->hold_marks(true);
  turn();
  store->set_floor(0, 16);  // the first batch as a whole, half of the second
  store->hold_marks(false);
  deliver_all();
  EXPECT_EQ(sent_ids().size(), 10u);
  EXPECT_EQ(sent_ids().count("e14"), 0u);
  EXPECT_EQ(sent_ids().count("e15"), 1u);
  EXPECT_EQ(state().counts.sent, 10u);
  EXPECT_TRUE(state().shards[0].open.empty());
}

TEST_F(LaneTest, ARequeuedDeadLetterIsSentUnderItsOwnEventId) {
  open();
  store->append(make_payload({.id = "poison"}));
  pass_ms(0);
  pass_ms(200);
  destination->answer(400);
  turn();
  const uint64_t id = store->disk().letters.begin()->first;
  pass_ms(60'000);
  EXPECT_EQ(destination->in_flight(), 0u);

  store->requeue(id);
  lane->look_for_requeued();
  turn();
  ASSERT_EQ(destination->in_flight(), 1u);
  EXPECT_EQ(destination->seen.back().ids, std::vector<std::string>{"poison"});
  const std::string first_id = destination->seen.back().batch_id;
  crash();  // the same batch again
  turn();
  ASSERT_EQ(destination->in_flight(), 1u);
  EXPECT_EQ(destination->seen.back().batch_id, first_id);
  destination->answer(400);
  turn();
  storage::DeadLetter letter = store->disk().letters.at(id);
  EXPECT_FALSE(letter.requeued);
  EXPECT_EQ(letter.attempts, 2u);
  EXPECT_EQ(letter.reason, "http_400");

  store->requeue(id);
  lane->look_for_requeued();
  turn();
  EXPECT_NE(destination->seen.back().batch_id, first_id);
  destination->answer(503);
  turn();
  EXPECT_TRUE(store->disk().letters.at(id).requeued);  // it is tried again
  pass_ms(10'000);
  destination->answer(200);
  turn();
  EXPECT_TRUE(store->disk().letters.empty());
  EXPECT_EQ(state().counts.failed, 0u);
  EXPECT_EQ(state().counts.sent, 1u);
}

TEST_F(LaneTest, ARequeuedLettersAttemptsAndWindowGoOnAfterARestart) {
  options.retry.window_ms = 60'000;
  options.retry.cap_ms = 1'000;
  open();
  store->append_many(1, "e");
  turn();
  pass_ms(200);
  destination->answer(400);
  turn();
  ASSERT_EQ(store->disk().letters.size(), 1u);
  const uint64_t id = store->disk().letters.begin()->first;
  store->requeue(id);
  lane->look_for_requeued();
  turn();
  destination->answer(503);
  turn();
  EXPECT_EQ(store->disk().letters.at(id).requeue_attempts, 1u);
  pass_ms(40'000);
  destination->answer(503);
  turn();
  const std::string batch_id = destination->seen.back().batch_id;
  crash();
  turn();
  ASSERT_EQ(destination->in_flight(), 1u);
  EXPECT_EQ(destination->seen.back().batch_id, batch_id);
  destination->answer(503);
  turn();
  EXPECT_EQ(store->disk().letters.at(id).requeue_attempts, 3u);
  // The window counts from the requeue, not from the restart.
  pass_ms(30'000);
  destination->answer(503);
  turn();
  const storage::DeadLetter letter = store->disk().letters.at(id);
  EXPECT_FALSE(letter.requeued);
  EXPECT_EQ(letter.reason, "retry_window");
  EXPECT_EQ(letter.attempts, 1u + 4u);
}

TEST_F(LaneTest, DrainingSendsWhatIsThereWithoutTheLinger) {
  open();
  store->append_many(3, "e");
  turn();
  EXPECT_EQ(destination->in_flight(), 0u);
  lane->start_draining();
  turn();
  ASSERT_EQ(destination->in_flight(), 1u);
  EXPECT_FALSE(lane->drained());
  destination->answer(200);
  turn();
  EXPECT_TRUE(lane->drained());
}

TEST_F(LaneTest, DrainingDoesNotWaitForADestinationThatIsAway) {
  open();
  store->append_many(30, "e");
  turn();
  destination->answer(0);
  destination->answer(0);
  lane->start_draining();
  turn();
  EXPECT_TRUE(lane->drained());
}

}  // namespace
}  // namespace weir::forwarder::testing
