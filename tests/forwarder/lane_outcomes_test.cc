// What answers do to a lane: retries, pauses, splits, dead letters, the retry window.
#include "forwarder/lane.h"
#include "forwarder/limits.h"
#include "tests/forwarder/lane_fixture.h"

namespace weir::forwarder::testing {
namespace {

constexpr int64_t kHourMs = 3'600'000;

TEST_F(LaneTest, WhileTheDestinationIsDownOneRequestAsksIt) {
  open();
  store->append_many(100, "e");
  turn();
  ASSERT_EQ(destination->in_flight(), 2u);
  destination->answer(0);
  destination->answer(0);
  turn();
  EXPECT_EQ(lane->status().state, "backing_off");
  EXPECT_EQ(lane->status().last_error, "connection refused");
  for (int i = 0; i < 30; ++i) {
    for (int wait = 0; wait < 700 && destination->in_flight() == 0; ++wait) pass_ms(1'000);
    ASSERT_EQ(destination->in_flight(), 1u) << i;
    destination->answer(0);
    turn();
    EXPECT_EQ(destination->in_flight(), 0u);
  }
  EXPECT_LE(state().shards[0].open.size(), kMaxOpenBatches);
  EXPECT_EQ(budget.used, 0u);  // what waits holds no memory
  deliver_all();
  EXPECT_EQ(state().counts.sent, 100u);
  EXPECT_EQ(lane->status().state, "idle");
}

TEST_F(LaneTest, PausesGrowAndStayBelowTheCap) {
  options.retry.cap_ms = 60'000;
  open();
  store->append_many(10, "e");
  turn();
  int64_t longest = 0;
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(destination->in_flight(), 1u);
    destination->answer(500);
    turn();
    int64_t waited = 0;
    while (destination->in_flight() == 0 && waited < 100'000) {
      pass_ms(500);
      waited += 500;
    }
    longest = std::max(longest, waited);
    EXPECT_LE(waited, 61'000);
  }
  EXPECT_GT(longest, 20'000);
}

TEST_F(LaneTest, RetryAfterHoldsTheWholeLane) {
  open();
  store->append_many(40, "e");
  turn();
  ASSERT_EQ(destination->in_flight(), 2u);
  destination->answer(429, "30");
  turn();
  destination->answer(200);  // this one was on its way already
  turn();
  pass_ms(29'000);
  EXPECT_EQ(destination->seen.size(), 2u);
  EXPECT_EQ(lane->status().state, "backing_off");
  pass_ms(1'500);
  EXPECT_GT(destination->seen.size(), 2u);
  deliver_all();
  EXPECT_EQ(state().counts.sent, 40u);

  store->append_many(10, "f");
  turn();
  const size_t before = destination->seen.size();
  destination->answer(429, "30");
  turn();
  pass_ms(29'999);
  EXPECT_EQ(destination->seen.size(), before);
  pass_ms(501);
  EXPECT_EQ(destination->seen.size(), before + 1);
}

TEST_F(LaneTest, APoisonEventEndsAloneAndTheRestGoesOn) {
  options.batch.max_events = 1000;
  open();
  store->append_many(417, "good");
  store->append(make_payload({.id = "poison"}));
  store->append_many(582, "fine");
  turn();
  size_t most_open = 0;
  for (int i = 0; i < 200; ++i) {
    turn();
    if (destination->in_flight() == 0) break;
    most_open = std::max(most_open, state().shards[0].open.size());
    const auto ids = event_ids(destination->peek().body);
    const bool poisoned = std::find(ids.begin(), ids.end(), "poison") != ids.end();
    destination->answer(poisoned ? 400 : 200);
  }
  EXPECT_EQ(state().counts.sent, 999u);
  EXPECT_EQ(state().counts.failed, 1u);
  EXPECT_EQ(state().tenants.at("acme").failed, 1u);
  EXPECT_TRUE(state().shards[0].open.empty());
  EXPECT_LE(most_open, 24u);  // 2 * log2(1000), and what is in flight
  const FakeDisk disk = store->disk();
  ASSERT_EQ(disk.letters.size(), 1u);
  const storage::DeadLetter& letter = disk.letters.begin()->second;
  EXPECT_EQ(letter.event_id, "poison");
  EXPECT_EQ(letter.position.number, 418u);
  EXPECT_EQ(letter.status, 400);
  EXPECT_EQ(letter.reason, "http_400");
  EXPECT_EQ(letter.detail, "HTTP 400: said no");
  EXPECT_EQ(letter.lane, "saas");
  EXPECT_EQ(letter.tenant, "acme");
  EXPECT_EQ(letter.attempts, 11u);
  EXPECT_EQ(letter.payload, make_payload({.id = "poison"}));
}

TEST_F(LaneTest, ASplitIsDurableBeforeItsPartsAreSentUnderNewIds) {
  open();
  store->append_many(10, "e");
  turn();
  const std::string whole = destination->seen[0].batch_id;
  store->hold_marks(true);
  destination->answer(413);
  turn();
  EXPECT_EQ(destination->in_flight(), 0u);
  crash();  // the split never happened: the whole batch again
  turn();
  ASSERT_EQ(destination->seen.size(), 1u);
  EXPECT_EQ(destination->seen[0].batch_id, whole);
  destination->answer(413);
  turn();
  ASSERT_EQ(destination->seen.size(), 3u);
  std::vector<FakeDestination::Seen> parts(destination->seen.begin() + 1, destination->seen.end());
  EXPECT_NE(parts[0].batch_id, whole);
  EXPECT_NE(parts[1].batch_id, whole);
  EXPECT_NE(parts[0].batch_id, parts[1].batch_id);
  EXPECT_EQ(parts[0].ids.size(), 5u);
  EXPECT_EQ(parts[1].ids.size(), 5u);
  crash();  // it happened: the same parts again
  turn();
  ASSERT_EQ(destination->seen.size(), 2u);
  EXPECT_EQ(destination->seen[0].batch_id, parts[0].batch_id);
  EXPECT_EQ(destination->seen[0].body, parts[0].body);
  EXPECT_EQ(destination->seen[1].body, parts[1].body);
}

TEST_F(LaneTest, AfterA413BatchesAreOpenedSmaller) {
  open();
  store->append_many(200, "e");
  size_t refused = 0;
  for (int i = 0; i < 500; ++i) {
    turn();
    if (destination->in_flight() == 0) break;
    const bool large = destination->peek().events > 5;
    refused += large;
    destination->answer(large ? 413 : 200);
  }
  EXPECT_EQ(state().counts.sent, 200u);
  EXPECT_EQ(state().counts.failed, 0u);
  EXPECT_LE(refused, 6u);  // those that were open already; not one per batch
}

TEST_F(LaneTest, AnEventTooLargeAloneBecomesADeadLetter) {
  open();
  store->append(make_payload({.id = "huge"}));
  pass_ms(200);
  destination->answer(413);
  turn();
  ASSERT_EQ(store->disk().letters.size(), 1u);
  EXPECT_EQ(store->disk().letters.begin()->second.reason, "too_large");
}

TEST_F(LaneTest, AfterTheRetryWindowTheBatchIsKeptAsARange) {
  options.retry.window_ms = 72 * kHourMs;
  open();
  store->append_many(10, "e");
  turn();
  const int64_t begin = clock.wall_ms();
  while (clock.wall_ms() - begin < 72 * kHourMs) {
    ASSERT_TRUE(store->disk().expired.empty());
    if (destination->in_flight() > 0) destination->answer(503);
    clock.advance_ms(60'000);
    for (int i = 0; i < 3; ++i) {
      lane->begin_turn();
      lane->take_outcomes();
      lane->read_ahead();
      lane->send_due();
      for (auto* update = client->take_outcomes(); update != nullptr;) {
        auto* const next = update->next;
        lane->on_mark(*update);
        update = next;
      }
    }
  }
  for (int i = 0; i < 20 && store->disk().expired.empty(); ++i) {
    if (destination->in_flight() > 0) destination->answer(503);
    pass_ms(60'000);
  }
  const FakeDisk disk = store->disk();
  ASSERT_EQ(disk.expired.size(), 1u);
  EXPECT_EQ(disk.expired[0].first, 1u);
  EXPECT_EQ(disk.expired[0].last, 10u);
  EXPECT_EQ(disk.expired[0].events, 10u);
  EXPECT_EQ(disk.expired[0].reason, "retry_window");
  EXPECT_EQ(disk.letters.size(), 0u);
  EXPECT_EQ(state().counts.expired, 10u);
  EXPECT_EQ(state().tenants.at("acme").expired, 10u);
  EXPECT_TRUE(state().shards[0].open.empty());
  // What comes later is tried on its own.
  store->append_many(10, "f");
  deliver_all();
  EXPECT_EQ(state().counts.sent, 10u);
}

TEST_F(LaneTest, ABatchThatFailsForItsOwnSakeHoldsBackNoOther) {
  options.batch.max_events = 10;
  open();
  store->append_many(5, "a");
  store->append(make_payload({.id = "stumble"}));
  store->append_many(4, "b");
  for (int i = 0; i < 500; ++i) {
    if (i % 5 == 0) store->append_many(10, "more" + std::to_string(i) + "-");
    turn();
    if (destination->in_flight() == 0) {
      clock.advance_ms(500);
      continue;
    }
    const auto ids = event_ids(destination->peek().body);
    const bool bad = std::find(ids.begin(), ids.end(), "stumble") != ids.end();
    destination->answer(bad ? 500 : 200);
  }
  // The others of its batch too: it was isolated by splitting.
  for (const char* id : {"a0", "a4", "b0", "b3"}) EXPECT_GE(sent_ids().count(id), 1u) << id;
  EXPECT_EQ(state().counts.sent, 1009u);
  ASSERT_EQ(state().shards[0].open.size(), 1u);
  EXPECT_EQ(state().shards[0].open.begin()->second.first,
            state().shards[0].open.begin()->second.last);
}

TEST_F(LaneTest, AnAddressThatRefusesEverythingDoesNotFailTheWholeLog) {
  open();
  store->append_many(1000, "e");
  for (int i = 0; i < 3000; ++i) {
    turn();
    if (destination->in_flight() > 0)
      destination->answer(404);
    else
      clock.advance_ms(1000);
  }
  EXPECT_LE(state().counts.failed, kMaxAddressRefusals + options.concurrency);
  EXPECT_EQ(lane->status().state, "backing_off");
  clock.advance_ms(600'000);
  deliver_all(200, 3000);  // the address was repaired
  EXPECT_EQ(state().counts.sent + state().counts.failed, 1000u);
}

}  // namespace
}  // namespace weir::forwarder::testing
