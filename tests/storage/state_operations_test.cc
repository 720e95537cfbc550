// What operators change while the state runs: expired ranges that are sent after all, lanes that
// follow a changed configuration.
#include <gtest/gtest.h>

#include "tests/storage/state_support.h"

namespace weir::storage {
namespace {

TEST(State, AnExpiredRangeThatIsRequeuedIsOpenAgainAndNoLongerCounted) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  FakeLog log;
  log.fill(0, 50, "a");
  log.fill(0, 50, "b");
  ASSERT_TRUE(fixture.open());
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 80, "max_backlog_bytes"}}, log));
  const auto rows = *fixture.state->expired("saas");
  const auto events = fixture.state->requeue_expired("saas", rows, log);
  ASSERT_TRUE(events) << events.error().message;
  EXPECT_EQ(*events, 80u);
  EXPECT_TRUE(fixture.state->expired("saas")->empty());
  ASSERT_TRUE(fixture.reopen());
  auto lane = *fixture.state->lane("saas");
  EXPECT_EQ(lane.counts.expired, 0u);
  EXPECT_EQ(lane.tenants.at("a").expired, 0u);
  EXPECT_EQ(lane.tenants.at("b").expired, 0u);
  ASSERT_EQ(lane.shards[0].open.size(), 1u);
  const OpenRange open = lane.shards[0].open.begin()->second;
  EXPECT_TRUE(open.requeued());
  EXPECT_EQ(open.first, 1u);
  EXPECT_EQ(open.last, 80u);
  EXPECT_EQ(lane.shards[0].low(), 1u);  // it holds its segments
  EXPECT_FALSE(fixture.state->trim({0, 50, {}}, log));
  // A second time there is nothing to requeue.
  EXPECT_EQ(*fixture.state->requeue_expired("saas", rows, log), 0u);
  // The owner cuts batches from it; a further expiry cuts what is left.
  LaneOwner owner(*fixture.state);
  LaneUpdate cut = update_of("saas");
  OpenRange rest = open;
  rest.first = 11;
  cut.put = {rest, range_of(fixture.state->next_batch_number(), 1, 10)};
  ASSERT_TRUE(owner.mark(cut));
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 40, "max_backlog_bytes"}}, log));
  lane = *fixture.state->lane("saas");
  EXPECT_EQ(lane.counts.expired, 40u);
  EXPECT_EQ(lane.shards[0].open.at(open.number).first, 41u);
}

TEST(State, RequeuedRangesOfWhichTheEventsAreGoneStayExpired) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  FakeLog log;
  log.fill(0, 100);
  ASSERT_TRUE(fixture.open());
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 60, "max_backlog_age"}}, log));
  const auto before = *fixture.state->expired("saas");
  ASSERT_TRUE(fixture.state->trim({0, 30, log.counted(0, 1, 30)}, log));
  log.remove_below(0, 31);
  EXPECT_EQ(*fixture.state->requeue_expired("saas", before, log), 0u);
  EXPECT_EQ(*fixture.state->requeue_expired("saas", *fixture.state->expired("saas"), log), 30u);
}

TEST(State, WhatWasGivenUpIsInNoRangeThatIsOpenedByAnOwnerThatDidNotKnow) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  FakeLog log;
  log.fill(0, 200);
  ASSERT_TRUE(fixture.open());
  LaneOwner owner(*fixture.state);
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 80, "max_idle"}}, log));
  LaneUpdate straddling = update_of("saas");
  straddling.frontiers = {{0, 101}};
  straddling.put = {range_of(1, 1, 100)};
  ASSERT_TRUE(owner.mark(straddling));
  EXPECT_EQ(straddling.put[0].first, 81u);
  auto lane = *fixture.state->lane("saas");
  EXPECT_EQ(lane.shards[0].open.at(1).first, 81u);
  EXPECT_EQ(lane.counts.expired, 80u);
  // All of it; also where the floor went back, because the expired range was requeued.
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 150, "max_idle"}}, log));
  ASSERT_TRUE(fixture.state->requeue_expired("saas", *fixture.state->expired("saas"), log));
  LaneUpdate gone = update_of("saas");
  gone.frontiers = {{0, 131}};
  gone.put = {range_of(2, 101, 130)};
  ASSERT_TRUE(owner.mark(gone));
  EXPECT_EQ(gone.put[0].first, 151u);
  lane = *fixture.state->lane("saas");
  EXPECT_FALSE(lane.shards[0].open.contains(2));
  // What is taken from the requeued range is the owner's, also together with new events.
  const auto requeued = std::find_if(lane.shards[0].open.begin(), lane.shards[0].open.end(),
                                     [](const auto& entry) { return entry.second.requeued(); });
  ASSERT_NE(requeued, lane.shards[0].open.end());
  LaneUpdate taken = update_of("saas");
  taken.frontiers = {{0, 161}};
  taken.close = {requeued->first};
  taken.put = {range_of(3, requeued->second.first, requeued->second.last)};
  ASSERT_TRUE(owner.mark(taken));
  EXPECT_EQ(taken.put[0].first, requeued->second.first);
}

// Such a batch was not given up, and so its parts are not.
TEST(State, PartsOfABatchThatReachesBelowTheFloorStay) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  FakeLog log;
  log.fill(0, 100);
  ASSERT_TRUE(fixture.open());
  LaneOwner owner(*fixture.state);
  LaneUpdate batch = update_of("saas");
  batch.frontiers = {{0, 61}};
  batch.put = {range_of(1, 41, 60)};
  ASSERT_TRUE(owner.mark(batch));
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, 50, "max_backlog_bytes"}}, log));
  EXPECT_EQ(fixture.state->lane("saas")->counts.expired, 0u);  // the first 40 were finished
  LaneUpdate split = update_of("saas");
  split.close = {1};
  split.put = {range_of(2, 41, 48), range_of(3, 49, 60)};
  ASSERT_TRUE(owner.mark(split));
  const LaneState lane = *fixture.state->lane("saas");
  ASSERT_EQ(lane.shards[0].open.size(), 2u);
  EXPECT_EQ(lane.shards[0].open.at(2).first, 41u);
  EXPECT_EQ(lane.shards[0].open.at(3).first, 49u);
}

// Five million events expire as one row of one transaction, not as copies.
TEST(State, FiveMillionEventsExpireAndAreRequeuedInABlink) {
  constexpr uint64_t kEvents = 5'000'000;
  class Log final : public LogView {  // counts whole ranges, as the log does by segments
   public:
    unsigned shards() const override { return 1; }
    uint64_t first(unsigned) const override { return 1; }
    uint64_t end(unsigned) const override { return kEvents + 1; }
    Status count(unsigned, uint64_t first, uint64_t last, TenantCounts* into) const override {
      into->events += last - first + 1;
      into->tenants["t"] += last - first + 1;
      return {};
    }
    int64_t received_ms(unsigned, uint64_t number) const override {
      return static_cast<int64_t>(number);
    }
  };
  TempDirectory directory;
  StateFixture fixture(directory.path());
  const Log log;
  ASSERT_TRUE(fixture.open());
  const int64_t started = Clock::system().monotonic_ns();
  ASSERT_TRUE(fixture.state->expire({{"saas", 0, kEvents, "max_backlog_bytes"}}, log));
  const auto rows = *fixture.state->expired("saas");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].events, kEvents);
  EXPECT_EQ(*fixture.state->requeue_expired("saas", rows, log), kEvents);
  EXPECT_EQ(fixture.state->lane("saas")->counts.expired, 0u);
  EXPECT_LT(Clock::system().monotonic_ns() - started, 5'000'000'000);
}

// A hundred events: up to 60 taken, 10 failed, 40 to 49 in flight.
struct ReplayFixture {
  TempDirectory directory;
  StateFixture fixture{directory.path()};
  FakeLog log;

  ReplayFixture() {
    log.fill(0, 50, "a");
    log.fill(0, 50, "b");
    EXPECT_TRUE(fixture.open());
    LaneOwner owner(*fixture.state);
    LaneUpdate update = update_of("saas");
    update.frontiers = {{0, 61}};
    update.put = {range_of(fixture.state->next_batch_number(), 40, 49)};
    update.dead_letters = {letter_of(10, "http_400", "a")};
    update.counts.failed = 1;
    EXPECT_TRUE(owner.mark(update));
  }
  std::vector<std::pair<uint64_t, uint64_t>> requeued() const {
    std::vector<std::pair<uint64_t, uint64_t>> ranges;
    const LaneState lane = *fixture.state->lane("saas");
    for (const auto& [number, range] : lane.shards[0].open)
      if (range.requeued()) ranges.emplace_back(range.first, range.last);
    return ranges;
  }
};

using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(State, AReplayOpensWhatWasFinishedAndLeavesOutWhatFailedOrComesAnyway) {
  ReplayFixture saas;
  const auto replayed = saas.fixture.state->replay("saas", {{0, 5, 80}}, saas.log);
  ASSERT_TRUE(replayed) << replayed.error().message;
  EXPECT_EQ(replayed->events, 45u);
  EXPECT_EQ(replayed->failed, 1u);
  EXPECT_EQ(replayed->pending, 30u);
  EXPECT_EQ(saas.requeued(), (Ranges{{5, 9}, {11, 39}, {50, 60}}));
  // A second time all of it comes anyway.
  EXPECT_EQ(saas.fixture.state->replay("saas", {{0, 5, 80}}, saas.log)->events, 0u);
  ASSERT_TRUE(saas.fixture.reopen());
  EXPECT_EQ(saas.requeued(), (Ranges{{5, 9}, {11, 39}, {50, 60}}));
  const LaneState lane = *saas.fixture.state->lane("saas");
  EXPECT_EQ(lane.shards[0].frontier, 61u);
  EXPECT_EQ(lane.shards[0].low(), 5u);           // it holds its segments
  EXPECT_EQ(lane.shards[0].backlog_low(), 40u);  // and is no backlog
  EXPECT_FALSE(saas.fixture.state->trim({0, 9, {}}, saas.log));
  EXPECT_FALSE(saas.fixture.state->replay("nobody", {{0, 5, 80}}, saas.log));
}

TEST(State, AReplayTakesBackWhatWasGivenUpButNothingThatWasDiscarded) {
  ReplayFixture saas;
  State& state = *saas.fixture.state;
  LaneOwner owner(state);
  LaneUpdate update = update_of("saas");
  ExpiredRange gone;
  gone.first = 11;
  gone.last = 30;
  gone.events = 20;
  gone.reason = "retry_window";
  update.expired = {gone};
  update.counts.expired = 20;
  update.tenants["a"].expired = 20;
  ASSERT_TRUE(owner.mark(update));
  LaneUpdate discard = update_of("saas");
  discard.dead_letter_changes.resize(1);
  discard.dead_letter_changes[0].id = 1;
  discard.dead_letter_changes[0].kind = LaneUpdate::DeadLetterChange::Kind::kDiscarded;
  ASSERT_TRUE(owner.mark(discard));
  const auto replayed = state.replay("saas", {{0, 1, 20}}, saas.log);
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->events, 19u);
  EXPECT_EQ(replayed->failed, 1u);
  EXPECT_EQ(saas.requeued(), (Ranges{{1, 9}, {11, 20}}));
  const LaneState lane = *state.lane("saas");
  EXPECT_EQ(lane.counts.expired, 11u);  // ten of the range, and the discarded one
  EXPECT_EQ(lane.tenants.at("a").expired, 11u);
  const auto rows = *state.expired("saas");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].reason, "discarded");
  EXPECT_EQ(rows[1].first, 21u);
  EXPECT_EQ(rows[1].events, 10u);
}

TEST(State, WhatIsDeletedCannotBeReplayed) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  FakeLog log;
  log.fill(0, 60);
  ASSERT_TRUE(fixture.open());
  LaneOwner owner(*fixture.state);
  LaneUpdate update = update_of("saas");
  update.frontiers = {{0, 61}};
  ASSERT_TRUE(owner.mark(update));
  ASSERT_TRUE(fixture.state->trim({0, 30, log.counted(0, 1, 30)}, log));
  log.remove_below(0, 31);
  const auto refused = fixture.state->replay("saas", {{0, 30, 60}}, log);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBusy);
  EXPECT_EQ(fixture.state->replay("saas", {{0, 31, UINT64_MAX}}, log)->events, 30u);
}

TEST(State, ARemovedDestinationEndsWhereTheLogEndedThenAlsoAfterARestart) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  fixture.options.lanes.push_back(lane_options("old"));
  ASSERT_TRUE(fixture.open());
  EXPECT_FALSE(fixture.state->lane("old")->removed());
  ASSERT_TRUE(fixture.state->configure_lanes({lane_options("saas")}, {41}));
  EXPECT_EQ(fixture.state->lane("old")->shards[0].ended, 41u);
  // The log goes on; where it ended does not.
  fixture.options.lanes = {lane_options("saas")};
  fixture.ends = {90};
  ASSERT_TRUE(fixture.reopen());
  EXPECT_EQ(fixture.state->lane("old")->shards[0].ended, 41u);
  ASSERT_TRUE(fixture.state->configure_lanes({lane_options("saas"), lane_options("old")}, {90}));
  EXPECT_FALSE(fixture.state->lane("old")->removed());
  // One that is missing at a start ends there.
  ASSERT_TRUE(fixture.reopen());
  EXPECT_EQ(fixture.state->lane("old")->shards[0].ended, 90u);
}

TEST(State, LanesFollowTheConfigurationAtRunTime) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  ASSERT_TRUE(fixture.open());
  LaneOptions changed = lane_options("saas");
  changed.max_backlog_bytes = 77;
  ASSERT_TRUE(fixture.state->configure_lanes({changed, lane_options("second")}, {1}));
  auto holding = fixture.state->retention_lanes();
  ASSERT_EQ(holding.size(), 2u);
  EXPECT_EQ(holding[0].options.max_backlog_bytes, 77u);
  LaneOwner owner(*fixture.state);
  LaneUpdate update = update_of("saas");
  update.frontiers = {{0, 8}};
  ASSERT_TRUE(owner.mark(update));
  // One that is taken out holds nothing any more, and keeps its position.
  ASSERT_TRUE(fixture.state->configure_lanes({lane_options("second")}, {1}));
  holding = fixture.state->retention_lanes();
  ASSERT_EQ(holding.size(), 1u);
  EXPECT_EQ(holding[0].options.name, "second");
  ASSERT_TRUE(fixture.state->configure_lanes({lane_options("saas")}, {1}));
  EXPECT_EQ(fixture.state->lane("saas")->shards[0].frontier, 8u);
  // All or nothing.
  EXPECT_FALSE(fixture.state->configure_lanes(
      {lane_options("third"), lane_options("saas", LaneKind::kConsumer)}, {1}));
  EXPECT_FALSE(fixture.state->lane("third"));
}

}  // namespace
}  // namespace weir::storage
