// Every rule of what may be deleted, given up or refused, with plain numbers; then random stores
// against the invariants at the top of retention.h.
#include "storage/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace weir::storage {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kNow = 1'000'000'000;
constexpr int64_t kHour = 3'600'000;

RetentionSegment segment(uint64_t first, uint64_t last, uint64_t bytes, int64_t age_ms,
                         bool sealed = true) {
  return {first, last, bytes, sealed, kNow - age_ms - 1000, kNow - age_ms};
}

RetentionLane lane(const std::string& name, std::vector<uint64_t> low,
                   BacklogPolicy policy = BacklogPolicy::kRefuseNew) {
  RetentionLane lane;
  lane.options.name = name;
  lane.options.policy = policy;
  lane.low = std::move(low);
  return lane;
}

// Three sealed segments of 100 events and 1000 bytes, 30, 20 and 10 hours old, and an active one.
RetentionInput input() {
  RetentionInput in;
  in.shards = {{segment(1, 100, 1000, 30 * kHour), segment(101, 200, 1000, 20 * kHour),
                segment(201, 300, 1000, 10 * kHour), segment(301, 350, 500, 0, false)}};
  in.retention_ms = 25 * kHour;
  in.max_bytes = 1 << 20;
  in.reserve_bytes = 1000;
  in.disk_free_bytes = 1 << 20;
  in.now_ms = kNow;
  return in;
}

TEST(Retention, WithoutALaneOnlyRetentionCounts) {
  RetentionInput in = input();
  auto plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 1u);
  EXPECT_EQ(plan.deletions[0].last, 100u);
  EXPECT_EQ(plan.deletions[0].reason, "retention");
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  in.max_bytes = 2000;  // not delivered, so nothing goes early: refuse instead
  plan = plan_retention(in);
  EXPECT_EQ(plan.deletions.size(), 1u);
  EXPECT_EQ(plan.refusal, Refusal::kStoreFull);
}

TEST(Retention, TheDiskIsAsFullAsWhatMayNotBeDeleted) {
  RetentionInput in = input();  // 3,500 bytes, the first segment past its retention
  in.max_bytes = 5'000;
  EXPECT_EQ(plan_retention(in).disk.percent, 50u);  // without a lane nothing but retention deletes
  in.lanes = {lane("saas", {250})};
  // The second segment is finished: it goes as soon as its space is needed.
  EXPECT_EQ(plan_retention(in).disk.percent, 30u);
  EXPECT_THAT(plan_retention(in).disk.detail, HasSubstr("1500 of 5000 bytes"));
  in.lanes = {lane("saas", {1})};
  EXPECT_EQ(plan_retention(in).disk.percent, 70u);
  EXPECT_THAT(plan_retention(in).disk.detail, HasSubstr("held by saas"));
  // A lane that drops the oldest gives its segments up before anything is refused.
  in.lanes = {lane("saas", {1}, BacklogPolicy::kDropOldest)};
  EXPECT_EQ(plan_retention(in).disk.percent, 10u);
}

TEST(Retention, TheDiskIsAlsoAsFullAsTheReserveIsNear) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {1})};
  in.reserve_bytes = 1'000;
  in.disk_free_bytes = 1'250;
  const auto plan = plan_retention(in);
  EXPECT_EQ(plan.disk.percent, 80u);
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  EXPECT_THAT(plan.disk.detail, HasSubstr("store.reserve_bytes"));
}

TEST(Retention, TheLagIsThatOfTheFullestBacklogThatRefuses) {
  RetentionInput in = input();
  in.lanes = {lane("half", {1}), lane("drops", {1}, BacklogPolicy::kDropOldest), lane("free", {1})};
  in.lanes[0].options.max_backlog_bytes = 7'000;
  in.lanes[1].options.max_backlog_bytes = 1'000;
  EXPECT_EQ(plan_retention(in).lag.percent, 50u);
  EXPECT_THAT(plan_retention(in).lag.detail, HasSubstr("half"));
  in.lanes[2].options.max_backlog_age_ms = 10 * kHour;
  in.lanes[2].oldest_pending_ms = kNow - 9 * kHour;
  EXPECT_EQ(plan_retention(in).lag.percent, 90u);
  EXPECT_THAT(plan_retention(in).lag.detail, HasSubstr("free"));
}

TEST(Retention, ALaneThatHasNotFinishedHoldsItsSegmentBeyondRetention) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {100})};
  EXPECT_TRUE(plan_retention(in).deletions.empty());
  in.lanes = {lane("saas", {101})};
  EXPECT_EQ(plan_retention(in).deletions.size(), 1u);
}

TEST(Retention, EveryLaneMustHaveFinished) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {351}), lane("slow", {50})};
  EXPECT_TRUE(plan_retention(in).deletions.empty());
}

TEST(Retention, AboveMaxBytesFinishedSegmentsGoEarly) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {250})};
  in.max_bytes = 2'600;
  auto plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 1u);  // the first for its age; that is enough
  EXPECT_EQ(plan.deletions[0].reason, "retention");
  in.max_bytes = 1'600;
  plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 2u);  // 201..300 is held
  EXPECT_EQ(plan.deletions[1].reason, "max_bytes");
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  in.max_bytes = 1'500;
  plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kStoreFull);
  EXPECT_THAT(plan.detail, HasSubstr("held by saas"));
}

TEST(Retention, HeadroomDeletesBeforeAnythingIsRefused) {
  RetentionInput in = input();
  in.retention_ms = 100 * kHour;
  in.lanes = {lane("saas", {351})};
  in.max_bytes = 4'000;
  in.headroom_bytes = 1'000;
  const auto plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 1u);
  EXPECT_EQ(plan.deletions[0].reason, "max_bytes");
  EXPECT_EQ(plan.refusal, Refusal::kNone);
}

TEST(Retention, ShortOfDiskRefusesAndDeletesWhatIsFinished) {
  RetentionInput in = input();
  in.retention_ms = 100 * kHour;
  in.lanes = {lane("saas", {151})};
  in.disk_free_bytes = 500;
  const auto plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 1u);
  EXPECT_EQ(plan.deletions[0].reason, "disk_full");
  EXPECT_EQ(plan.refusal, Refusal::kDiskFull);  // until the space is really there
}

TEST(Retention, ABacklogAtItsLimitRefusesNewEvents) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {151})};
  in.lanes[0].options.max_backlog_bytes = 2'000;
  EXPECT_EQ(backlog_bytes(in.lanes[0], in.shards), 2'000u);
  auto plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kBacklogFull);
  EXPECT_THAT(plan.detail, HasSubstr("saas"));
  EXPECT_TRUE(plan.expiries.empty());
  in.lanes[0].options.max_backlog_bytes = 2'001;
  EXPECT_EQ(plan_retention(in).refusal, Refusal::kNone);
  in.lanes[0].options.max_backlog_age_ms = 5 * kHour;
  in.lanes[0].oldest_pending_ms = kNow - 6 * kHour;
  plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kBacklogFull);
  EXPECT_THAT(plan.detail, HasSubstr("max_backlog_age"));
  in.lanes[0].oldest_pending_ms = 0;  // nothing pending
  EXPECT_EQ(plan_retention(in).refusal, Refusal::kNone);
}

TEST(Retention, AReplayHoldsItsSegmentsAndIsNoBacklog) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {51}), lane("drops", {51}, BacklogPolicy::kDropOldest)};
  for (RetentionLane& each : in.lanes) {
    each.backlog = {340};
    each.options.max_backlog_bytes = 1'500;
    each.options.max_backlog_age_ms = 5 * kHour;
  }
  auto plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  EXPECT_LT(plan.lag.percent, 10u);
  EXPECT_TRUE(plan.expiries.empty());
  EXPECT_TRUE(plan.deletions.empty());
  // Once the backlog itself is too old the replay goes with it: the oldest first.
  in.lanes[1].backlog = {150};
  plan = plan_retention(in);
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].last, 300u);
}

TEST(Retention, ABacklogThatDropsTheOldestGivesUpByBytes) {
  RetentionInput in = input();
  in.retention_ms = 100 * kHour;
  in.lanes = {lane("saas", {51}, BacklogPolicy::kDropOldest)};
  in.lanes[0].options.max_backlog_bytes = 1'500;  // it has 3000
  const auto plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].reason, "max_backlog_bytes");
  EXPECT_EQ(plan.expiries[0].last, 200u);
  in.lanes[0].low = {plan.expiries[0].last + 1};
  EXPECT_LE(backlog_bytes(in.lanes[0], in.shards), 1'500u);
}

TEST(Retention, ABacklogThatDropsTheOldestGivesUpByAgeInWholeSegments) {
  RetentionInput in = input();
  in.lanes = {lane("saas", {51}, BacklogPolicy::kDropOldest)};
  in.lanes[0].options.max_backlog_age_ms = 15 * kHour;
  const auto plan = plan_retention(in);
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].last, 200u);
  EXPECT_EQ(plan.expiries[0].reason, "max_backlog_age");
  EXPECT_TRUE(plan.deletions.empty());  // only after that is durable
}

TEST(Retention, AtMaxBytesLanesThatDropTheOldestGiveItUp) {
  RetentionInput in = input();
  in.retention_ms = 100 * kHour;
  in.max_bytes = 3'000;
  in.lanes = {lane("saas", {51}, BacklogPolicy::kDropOldest), lane("other", {351})};
  auto plan = plan_retention(in);
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].last, 100u);
  EXPECT_EQ(plan.expiries[0].reason, "store_max_bytes");
  in.lanes[1].low = {80};  // held by one that must not lose anything
  plan = plan_retention(in);
  EXPECT_TRUE(plan.expiries.empty());
  EXPECT_EQ(plan.refusal, Refusal::kStoreFull);
}

TEST(Retention, AnIdleLaneGivesUpWhatRetentionWouldDelete) {
  RetentionInput in = input();
  in.lanes = {lane("gone", {50}), lane("saas", {351})};
  EXPECT_TRUE(plan_retention(in).expiries.empty());
  in.lanes[0].idle = true;
  auto plan = plan_retention(in);
  EXPECT_TRUE(plan.deletions.empty());  // in the next round, after that is durable
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].lane, "gone");
  EXPECT_EQ(plan.expiries[0].last, 100u);
  EXPECT_EQ(plan.expiries[0].reason, "max_idle");
  in.lanes[0].low = {101};
  plan = plan_retention(in);
  EXPECT_EQ(plan.deletions.size(), 1u);
  EXPECT_TRUE(plan.expiries.empty());
}

TEST(Retention, AnIdleLaneGivesUpNothingThatAnotherStillHolds) {
  RetentionInput in = input();
  in.lanes = {lane("gone", {50}), lane("slow", {20})};
  in.lanes[0].idle = true;
  EXPECT_TRUE(plan_retention(in).expiries.empty());
}

TEST(Retention, AnIdleLaneRefusesNoNewEvents) {
  RetentionInput in = input();
  in.lanes = {lane("gone", {201})};
  in.lanes[0].options.max_backlog_bytes = 500;
  EXPECT_EQ(plan_retention(in).refusal, Refusal::kBacklogFull);
  in.lanes[0].idle = true;
  const auto plan = plan_retention(in);
  EXPECT_EQ(plan.refusal, Refusal::kNone);
  ASSERT_EQ(plan.expiries.size(), 1u);
  EXPECT_EQ(plan.expiries[0].reason, "max_backlog_bytes");
}

TEST(Retention, AClockThatJumpsBackDeletesNothingEarly) {
  RetentionInput in = input();
  // Before the jump the clock was right; these two were written with it two days slow.
  in.shards[0][1].newest_ms -= 48 * kHour;
  in.shards[0][2].newest_ms -= 48 * kHour;
  in.shards[0][0].newest_ms = kNow - 20 * kHour;
  EXPECT_TRUE(plan_retention(in).deletions.empty());
  in.lanes = {lane("saas", {51}, BacklogPolicy::kDropOldest)};
  in.lanes[0].options.max_backlog_age_ms = 24 * kHour;
  EXPECT_TRUE(plan_retention(in).expiries.empty());
  in.now_ms -= 365 * 24 * kHour;  // and a clock that is far behind now
  EXPECT_TRUE(plan_retention(in).deletions.empty());
  EXPECT_TRUE(plan_retention(in).expiries.empty());
}

TEST(Retention, TheOldestOfAllShardsGoesFirst) {
  RetentionInput in = input();
  in.retention_ms = 100 * kHour;
  in.shards.push_back({segment(1, 50, 1000, 40 * kHour), segment(51, 60, 100, 0, false)});
  in.lanes = {lane("saas", {351, 61})};
  in.max_bytes = 4'100;
  const auto plan = plan_retention(in);
  ASSERT_EQ(plan.deletions.size(), 1u);
  EXPECT_EQ(plan.deletions[0].shard, 1u);
}

// ---- random stores

struct RandomStore {
  explicit RandomStore(unsigned seed) : random(seed) {
    in.now_ms = kNow;
    in.retention_ms = number(1, 50) * kHour;
    in.reserve_bytes = number(0, 2'000);
    in.headroom_bytes = number(0, 2'000);
    in.disk_free_bytes = number(0, 10'000);
    for (uint64_t s = number(1, 3); s > 0; --s) add_shard();
    uint64_t total = 0;
    for (const auto& segments : in.shards)
      for (const auto& segment : segments) total += segment.bytes;
    in.max_bytes = number(1, 2 * total + 1);
    for (uint64_t l = number(0, 4); l > 0; --l) add_lane();
  }

  uint64_t number(uint64_t from, uint64_t to) {
    return std::uniform_int_distribution<uint64_t>(from, to)(random);
  }

  void add_shard() {
    std::vector<RetentionSegment> segments;
    uint64_t first = number(1, 100);
    const uint64_t count = number(1, 8);
    int64_t time = kNow - static_cast<int64_t>(number(0, 100)) * kHour;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t events = number(i + 1 == count ? 0 : 1, 200);
      RetentionSegment s;
      s.first = first;
      s.last = first + events - 1;
      s.bytes = number(10, 2'000);
      s.sealed = i + 1 < count;
      s.oldest_ms = time;
      time += static_cast<int64_t>(number(0, 20)) * kHour;
      if (number(0, 5) == 0) time -= 72 * kHour;  // the clock jumps back
      s.newest_ms = time;
      first += events + number(0, 10);  // gaps are legal
      segments.push_back(s);
    }
    in.shards.push_back(segments);
  }

  void add_lane() {
    RetentionLane lane;
    lane.options.name = "lane" + std::to_string(in.lanes.size());
    lane.options.policy =
        number(0, 1) == 0 ? BacklogPolicy::kRefuseNew : BacklogPolicy::kDropOldest;
    lane.idle = number(0, 3) == 0;
    if (number(0, 1) == 0) lane.options.max_backlog_bytes = number(1, 5'000);
    if (number(0, 1) == 0) lane.options.max_backlog_age_ms = number(1, 100) * kHour;
    for (const auto& segments : in.shards) lane.low.push_back(number(1, segments.back().last + 1));
    in.lanes.push_back(lane);
  }

  std::mt19937 random;
  RetentionInput in;
};

void check_deletions(const RetentionInput& in, const RetentionPlan& plan) {
  std::vector<size_t> next(in.shards.size());
  for (const Deletion& deletion : plan.deletions) {
    const auto& segments = in.shards[deletion.shard];
    const size_t i = next[deletion.shard]++;
    ASSERT_LT(i, segments.size());
    EXPECT_EQ(deletion.first, segments[i].first) << "oldest first, without gaps";
    EXPECT_EQ(deletion.last, segments[i].last);
    EXPECT_TRUE(segments[i].sealed);
    for (const RetentionLane& lane : in.lanes) {
      if (segments[i].first > segments[i].last) continue;
      EXPECT_GT(lane.low[deletion.shard], segments[i].last) << lane.options.name << " needs it";
    }
    int64_t newest = INT64_MIN;
    for (size_t k = 0; k <= i; ++k) newest = std::max(newest, segments[k].newest_ms);
    if (newest + in.retention_ms >= in.now_ms) {
      EXPECT_FALSE(in.lanes.empty()) << "early, although nothing was delivered";
      EXPECT_NE(deletion.reason, "retention");
    }
  }
}

void check_expiries(const RetentionInput& in, const RetentionPlan& plan) {
  for (const Expiry& expiry : plan.expiries) {
    const RetentionLane* lane = nullptr;
    for (const RetentionLane& candidate : in.lanes)
      if (candidate.options.name == expiry.lane) lane = &candidate;
    ASSERT_NE(lane, nullptr);
    EXPECT_TRUE(lane->idle || lane->options.policy == BacklogPolicy::kDropOldest);
    EXPECT_GE(expiry.last, lane->low[expiry.shard]) << "gives nothing up";
    EXPECT_LE(expiry.last, in.shards[expiry.shard].back().last);
    if (expiry.reason == "max_backlog_bytes") {
      EXPECT_GT(backlog_bytes(*lane, in.shards), lane->options.max_backlog_bytes);
    }
  }
}

// Applies a plan as the store would, until nothing more happens.
void settle(RetentionInput& in) {
  for (int round = 0; round < 50; ++round) {
    const RetentionPlan plan = plan_retention(in);
    check_deletions(in, plan);
    check_expiries(in, plan);
    if (::testing::Test::HasFailure()) return;
    if (plan.deletions.empty() && plan.expiries.empty()) {
      // At rest: a lane that drops the oldest is within its limit in bytes.
      for (const RetentionLane& lane : in.lanes) {
        if (lane.options.policy != BacklogPolicy::kDropOldest) continue;
        if (lane.options.max_backlog_bytes == 0) continue;
        EXPECT_LE(backlog_bytes(lane, in.shards), lane.options.max_backlog_bytes);
      }
      return;
    }
    for (const Expiry& expiry : plan.expiries) {
      for (RetentionLane& lane : in.lanes) {
        if (lane.options.name != expiry.lane) continue;
        lane.low[expiry.shard] = std::max(lane.low[expiry.shard], expiry.last + 1);
      }
    }
    for (const Deletion& deletion : plan.deletions)
      in.shards[deletion.shard].erase(in.shards[deletion.shard].begin());
  }
  FAIL() << "the plan never comes to rest";
}

TEST(Retention, NeverDeletesWhatALaneNeedsUnlessItsPolicySaysSo) {
  for (unsigned seed = 1; seed <= 3'000 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomStore store(seed);
    settle(store.in);
  }
}

}  // namespace
}  // namespace weir::storage
