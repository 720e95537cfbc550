// Totals by interval arithmetic against a plain model that knows the state of every event.
#include "storage/fresh_counts.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

#include "tests/storage/state_support.h"

namespace weir::storage {
namespace {

using Change = LaneUpdate::DeadLetterChange;

TEST(FreshCounts, WithoutALaneEverythingIsPending) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  fixture.options.lanes.clear();
  ASSERT_TRUE(fixture.open());
  FakeLog log;
  log.fill(0, 7);
  const auto counts = fresh_counts(*fixture.state, log);
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->total.pending, 7u);
  EXPECT_EQ(counts->total.sent, 0u);
  EXPECT_EQ(counts->tenants.at("t").pending, 7u);
}

TEST(FreshCounts, ALaneThatStartsLateHasNoPartInWhatWasBefore) {
  TempDirectory directory;
  StateFixture fixture(directory.path());
  fixture.options.lanes[0].from_latest = true;
  fixture.ends = {5};
  ASSERT_TRUE(fixture.open());
  FakeLog log;
  log.fill(0, 7);
  LaneOwner owner(*fixture.state);
  LaneUpdate update = update_of("saas");
  update.frontiers = {{0, 8}};
  update.counts.sent = 3;
  ASSERT_TRUE(owner.mark(update));
  const auto counts = fresh_counts(*fixture.state, log);
  EXPECT_EQ(counts->total.sent, 3u);
  EXPECT_EQ(counts->total.pending, 4u);
  EXPECT_EQ(counts->lanes.at("saas").pending, 0u);
}

// What the store should say, kept event by event.
class Model {
 public:
  Model(unsigned seed, const std::string& directory) : random_(seed), fixture_(directory), log_(2) {
    fixture_.options.shards = 2;
    fixture_.options.state_bytes = 1 << 20;
    fixture_.options.lanes = {lane_options("a"), lane_options("b")};
    EXPECT_TRUE(fixture_.open());
    owner_ = std::make_unique<LaneOwner>(*fixture_.state);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      switch (number(0, 9)) {
        case 0:
        case 1:
          append();
          break;
        case 2:
        case 3:
        case 4:
          work_on_lane();
          break;
        case 5:
          decide_letter();
          break;
        case 6:
          expire();
          break;
        case 7:
          trim();
          break;
        case 8:
          replay_letter();
          break;
        default:
          if (number(0, 3) == 0) restart();
      }
    }
    compare();
  }

 private:
  enum class Part : uint8_t { kPending, kSent, kFailed, kGivenUp };
  struct Event {
    std::string tenant;
    std::map<std::string, Part> parts{{"a", Part::kPending}, {"b", Part::kPending}};
  };

  uint64_t number(uint64_t from, uint64_t to) {
    return std::uniform_int_distribution<uint64_t>(from, to)(random_);
  }
  Event& event(Position at) { return events_[at]; }

  void append() {
    const auto shard = static_cast<uint16_t>(number(0, 1));
    for (uint64_t n = number(1, 20); n > 0; --n) {
      const std::string tenant = number(0, 2) == 0 ? "x" : "y";
      events_[{shard, log_.end(shard)}] =
          Event{tenant, {{"a", Part::kPending}, {"b", Part::kPending}}};
      log_.append(shard, tenant);
    }
  }

  // Takes a batch, or finishes one: sent, failed (letters) or given up as a range.
  void work_on_lane() {
    const std::string name = number(0, 1) == 0 ? "a" : "b";
    const auto shard = static_cast<uint16_t>(number(0, 1));
    const LaneState lane = *fixture_.state->lane(name);
    const LaneShard& at = lane.shards[shard];
    LaneUpdate update = update_of(name);
    if (at.open.size() < 3 && at.frontier < log_.end(shard)) {
      const uint64_t last = std::min(log_.end(shard) - 1, at.frontier + number(0, 9));
      update.put = {range_of(fixture_.state->next_batch_number(), at.frontier, last, shard)};
      update.frontiers = {{shard, last + 1}};
    } else if (!at.open.empty()) {
      auto range = at.open.begin();
      std::advance(range, number(0, at.open.size() - 1));
      finish(range->second, update);
    }
    EXPECT_TRUE(owner_->mark(update)) << update.outcome.error().message;
  }

  void finish(const OpenRange& range, LaneUpdate& update) {
    update.close = {range.number};
    const bool give_up = number(0, 4) == 0;
    for (uint64_t n = range.first; n <= range.last; ++n) {
      Event& e = event({range.shard, n});
      Part& part = e.parts[update.lane];
      if (give_up) {
        part = Part::kGivenUp;
        update.counts.expired += 1;
      } else if (number(0, 9) == 0) {
        part = Part::kFailed;
        update.dead_letters.push_back(letter_of(n, "http_400", e.tenant, range.shard));
        update.counts.failed += 1;
        update.tenants[e.tenant].failed += 1;
      } else {
        part = Part::kSent;
        update.counts.sent += 1;
      }
    }
    if (give_up)
      update.expired = {
          {range.shard, range.first, range.last, range.last - range.first + 1, 1, "retry_window"}};
  }

  void decide_letter() {
    const auto letters = *fixture_.state->dead_letters().list({});
    if (letters.empty()) return;
    const DeadLetter& letter = letters[number(0, letters.size() - 1)];
    const bool sent = number(0, 1) == 0;
    LaneUpdate update = update_of(letter.lane);
    update.dead_letter_changes = {
        {letter.id, sent ? Change::Kind::kSent : Change::Kind::kDiscarded, {}}};
    EXPECT_TRUE(owner_->mark(update));
    event(letter.position).parts[letter.lane] = sent ? Part::kSent : Part::kGivenUp;
  }

  // The same letter once more, as after a crash between the letter and the mark.
  void replay_letter() {
    const auto letters = *fixture_.state->dead_letters().list({});
    if (letters.empty()) return;
    const DeadLetter& letter = letters[number(0, letters.size() - 1)];
    LaneUpdate update = update_of(letter.lane);
    update.dead_letters = {letter};
    update.counts.failed = 1;
    update.tenants[letter.tenant].failed = 1;
    EXPECT_TRUE(owner_->mark(update));
  }

  void expire() {
    const std::string name = number(0, 1) == 0 ? "a" : "b";
    const auto shard = static_cast<unsigned>(number(0, 1));
    const LaneState lane = *fixture_.state->lane(name);
    const LaneShard& at = lane.shards[shard];
    if (log_.end(shard) == 1 || number(0, 2) != 0) return;
    const uint64_t last = std::min(log_.end(shard) - 1, at.low() + number(0, 15));
    EXPECT_TRUE(fixture_.state->expire({{name, shard, last, "max_backlog_bytes"}}, log_));
    const auto give_up = [&](uint64_t from, uint64_t to) {
      for (uint64_t n = from; n <= to; ++n)
        event({static_cast<uint16_t>(shard), n}).parts[name] = Part::kGivenUp;
    };
    for (const auto& [batch, range] : at.open)
      if (range.last <= last) give_up(range.first, range.last);
    give_up(at.frontier, last);
  }

  void trim() {
    const auto shard = static_cast<unsigned>(number(0, 1));
    uint64_t low = log_.end(shard);
    for (const LaneState& lane : fixture_.state->lanes())
      low = std::min(low, lane.shards[shard].low());
    const uint64_t first = fixture_.state->past(shard).lowest_live;
    if (low <= first) return;
    const uint64_t last = number(first, low - 1);
    EXPECT_TRUE(fixture_.state->trim({shard, last, log_.counted(shard, first, last)}, log_));
    log_.remove_below(shard, last + 1);
  }

  void restart() {
    compare();
    owner_.reset();
    EXPECT_TRUE(fixture_.reopen());
    owner_ = std::make_unique<LaneOwner>(*fixture_.state);
    compare();
  }

  void compare() {
    FreshCounts expected;
    std::map<std::string, uint64_t> failed_letters;
    for (const auto& [at, e] : events_) {
      bool failed = false, pending = false;
      for (const auto& [name, part] : e.parts) {
        failed = failed || part == Part::kFailed || part == Part::kGivenUp;
        pending = pending || part == Part::kPending;
        EventStates& lane = expected.lanes[name];
        ++(part == Part::kPending ? lane.pending : part == Part::kSent ? lane.sent : lane.failed);
      }
      const auto add = [&](EventStates& states) {
        ++(failed ? states.failed : pending ? states.pending : states.sent);
      };
      add(expected.total);
      add(expected.tenants[e.tenant]);
    }
    const auto counts = fresh_counts(*fixture_.state, log_);
    ASSERT_TRUE(counts) << counts.error().message;
    const auto same = [](const EventStates& got, const EventStates& want, const std::string& of) {
      EXPECT_EQ(got.pending, want.pending) << of;
      EXPECT_EQ(got.sent, want.sent) << of;
      EXPECT_EQ(got.failed, want.failed) << of;
    };
    same(counts->total, expected.total, "total");
    for (const auto& [name, states] : expected.lanes) same(counts->lanes.at(name), states, name);
    for (const auto& [tenant, states] : expected.tenants)
      same(counts->tenants.at(tenant), states, tenant);
  }

  std::mt19937 random_;
  StateFixture fixture_;
  FakeLog log_;
  std::unique_ptr<LaneOwner> owner_;
  std::map<Position, Event> events_;
};

TEST(FreshCounts, AgreeWithAModelOfEveryEvent) {
  for (unsigned seed = 1; seed <= 8 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    TempDirectory directory(Medium::kMemory);
    Model(seed, directory.path()).run(150);
  }
}

}  // namespace
}  // namespace weir::storage
