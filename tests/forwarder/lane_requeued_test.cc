// What a lane sends after all, or once more: requeued letters, expired ranges, replays.
#include "forwarder/lane.h"
#include "tests/forwarder/lane_fixture.h"

namespace weir::forwarder::testing {
namespace {

class LaneRequeuedTest : public LaneTest {
 protected:
  // The first attempt at each event gives it up; then all are requeued.
  void expire_and_requeue(uint64_t events, const std::string& prefix) {
    options.retry.max_attempts = 1;
    options.retry.base_ms = 1;
    open();
    store->append_many(events, prefix);
    deliver_all(503);
    ASSERT_EQ(state().counts.expired, events);
    ASSERT_TRUE(store->requeue_expired("saas", store->disk().expired));
  }
};

TEST_F(LaneRequeuedTest, ARequeuedExpiredRangeIsSentInBatchesBesideTheLog) {
  ASSERT_NO_FATAL_FAILURE(expire_and_requeue(25, "old"));
  const size_t before = destination->seen.size();
  lane->look_for_requeued();
  lane->look_for_requeued();  // told twice: adopted once
  store->append_many(5, "new");
  deliver_all(200);
  std::multiset<std::string> again;
  for (size_t i = before; i < destination->seen.size(); ++i) {
    EXPECT_LE(destination->seen[i].ids.size(), 10u);
    again.insert(destination->seen[i].ids.begin(), destination->seen[i].ids.end());
  }
  EXPECT_EQ(again.size(), 30u);
  EXPECT_EQ(std::set<std::string>(again.begin(), again.end()).size(), 30u);
  EXPECT_EQ(state().counts.sent, 30u);
  EXPECT_TRUE(state().shards[0].open.empty());
}

TEST_F(LaneRequeuedTest, AReplayGoesOnWhereItWasAfterACrash) {
  ASSERT_NO_FATAL_FAILURE(expire_and_requeue(40, "e"));
  lane->look_for_requeued();
  turn();
  destination->answer(200);
  turn();
  const uint64_t sent = state().counts.sent;
  EXPECT_GT(sent, 0u);
  crash();
  deliver_all(200);
  EXPECT_EQ(state().counts.sent, 40u);
  EXPECT_TRUE(state().shards[0].open.empty());
}

TEST_F(LaneTest, AReplayIsSentBesideTheLogAndGoesOnAfterACrash) {
  open();
  store->append_many(40, "e");
  deliver_all(200);
  ASSERT_EQ(state().counts.sent, 40u);
  const size_t before = destination->seen.size();
  ASSERT_TRUE(store->replay("saas", {{0, 3, 12}, {0, 20, 39}}));
  lane->look_for_requeued();
  store->append_many(5, "new");
  turn();
  destination->answer(200);
  turn();
  EXPECT_GT(destination->seen.size(), before);
  const auto again_before = sent_ids();
  // Batches that were cut from it are no backlog either.
  EXPECT_LT(state().shards[0].low(), 40u);
  EXPECT_GE(state().shards[0].backlog_low(), 41u);
  crash();
  deliver_all(200);
  auto ids = sent_ids();
  ids.insert(again_before.begin(), again_before.end());
  for (int i = 0; i < 40; ++i) {
    const bool twice = (i >= 2 && i <= 11) || (i >= 19 && i <= 38);
    // At least: what was in flight in the crash comes again.
    EXPECT_GE(ids.count("e" + std::to_string(i)), twice ? 2u : 1u) << i;
    EXPECT_LE(ids.count("e" + std::to_string(i)), twice ? 3u : 1u) << i;
  }
  EXPECT_GE(ids.count("new4"), 1u);
  EXPECT_EQ(state().counts.sent, 40u + 30u + 5u);
  EXPECT_TRUE(state().shards[0].open.empty());
}

TEST_F(LaneTest, ManyRequeuedLettersAreWorkedOffInBoundedMemory) {
  FakeDisk disk;
  for (uint64_t id = 1; id <= 1000; ++id) {
    storage::DeadLetter letter;
    letter.id = id;
    letter.lane = "saas";
    letter.position = {0, id};
    letter.requeued = id % 2 == 0;
    letter.payload = make_payload({.id = "d" + std::to_string(id)});
    disk.letters[id] = letter;
  }
  open(std::move(disk));
  deliver_all(200, 1200);
  EXPECT_EQ(destination->seen.size(), 500u);
  EXPECT_EQ(store->disk().letters.size(), 500u);
}

}  // namespace
}  // namespace weir::forwarder::testing
