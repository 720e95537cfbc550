// The leases' thread over the real store: real files, real marks, real restarts, several askers.
#include "forwarder/leases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "tests/forwarder/event_ids.h"
#include "tests/forwarder/over_store.h"

namespace weir::forwarder::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One thread's way of asking.
class Asker {
 public:
  explicit Asker(Leases& leases) : leases_(leases), inbox_(wakeup_) {}

  std::unique_ptr<PullCall> ask(std::unique_ptr<PullCall> call) {
    call->inbox = &inbox_;
    PullCall* const mine = call.get();
    leases_.submit(*mine);
    for (int i = 0; i < 2'000; ++i) {
      if (PullCall* back = inbox_.done.take_all()) {
        EXPECT_EQ(back, mine);
        if (mine->kind == PullKind::kLease && mine->status) leases_.release_body(mine->body.size());
        return call;
      }
      wakeup_.wait(10'000'000);
    }
    ADD_FAILURE() << "a call did not come back";
    static_cast<void>(call.release());
    return std::make_unique<PullCall>();
  }
  static std::unique_ptr<PullCall> make(PullKind kind, const std::string& consumer = "central") {
    auto call = std::make_unique<PullCall>();
    call->kind = kind;
    call->consumer = consumer;
    call->holder = "asker";
    call->may_create = true;
    return call;
  }
  std::unique_ptr<PullCall> lease(uint64_t max_events = 1000, int64_t wait_ms = 0,
                                  const std::string& consumer = "central") {
    auto call = make(PullKind::kLease, consumer);
    call->max_events = max_events;
    call->wait_ms = wait_ms;
    return ask(std::move(call));
  }
  std::unique_ptr<PullCall> ack(const std::string& lease, const std::string& consumer = "central") {
    auto call = make(PullKind::kAck, consumer);
    call->lease = lease;
    return ask(std::move(call));
  }

 private:
  Leases& leases_;
  Wakeup wakeup_;
  PullInbox inbox_;
};

class LeasesTest : public OverStore {
 protected:
  LeasesTest() {
    options.node = "edge";
    options.max_consumers = 5;
  }
  ~LeasesTest() override { close(); }

  void open() {
    open_store();
    auto started = Leases::start(options, *store, Clock::system(), metrics);
    ASSERT_TRUE(started) << started.error().message;
    leases = std::move(*started);
    asker = &new_asker();
  }
  // An asker is told of an answer after it may have taken it, so it lives until the leases stopped.
  Asker& new_asker() {
    const std::lock_guard lock(askers_mutex);
    return *askers.emplace_back(std::make_unique<Asker>(*leases));
  }
  // Until so many requests of the consumer wait for events.
  void wait_for_waiting(uint64_t count) {
    for (int i = 0; i < 2'000; ++i) {
      const auto shown = asker->ask(Asker::make(PullKind::kShow));
      if (shown->status && shown->infos.front().waiting == count) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ADD_FAILURE() << "nobody waits";
  }
  void close() {
    if (leases) leases->stop();
    stop_store();
    asker = nullptr;
    askers.clear();
    leases.reset();
    store.reset();
  }
  void reopen() {
    close();
    open();
  }
  PullOptions options;
  std::unique_ptr<Leases> leases;
  Asker* asker = nullptr;
  std::mutex askers_mutex;
  std::deque<std::unique_ptr<Asker>> askers;
};

TEST_F(LeasesTest, ALeaseAndItsAckSurviveRestarts) {
  open();
  append(4, "e");
  const auto held = asker->lease(2);
  EXPECT_THAT(event_ids(held->body), ElementsAre("e0", "e1"));
  reopen();
  EXPECT_THAT(event_ids(asker->lease()->body), ElementsAre("e2", "e3"));
  EXPECT_EQ(asker->ack(held->lease)->acked, 2u);
  reopen();
  EXPECT_EQ(asker->ack(held->lease)->acked, 2u);
  EXPECT_EQ(store->lane("central")->counts.sent, 2u);
  EXPECT_EQ(store->fresh_counts()->lanes.at("central").pending, 2u);
}

TEST_F(LeasesTest, SeveralAskersShareAConsumerAndNeverAnEvent) {
  store_options.shards = 2;
  open();
  for (int i = 0; i < 10; ++i) append(200, "e" + std::to_string(i) + "-");
  std::mutex mutex;
  std::multiset<std::string> taken;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Asker& mine = new_asker();
      for (;;) {
        const auto lease = mine.lease(37);
        if (lease->empty) return;
        const auto ids = event_ids(lease->body);
        EXPECT_EQ(mine.ack(lease->lease)->acked, ids.size());
        const std::lock_guard lock(mutex);
        taken.insert(ids.begin(), ids.end());
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken.size(), 2'000u);
  EXPECT_EQ(std::set<std::string>(taken.begin(), taken.end()).size(), 2'000u);
  EXPECT_EQ(store->lane("central")->counts.sent, 2'000u);
  EXPECT_EQ(store->lane("central")->tenants.at("acme").sent, 2'000u);
}

ConsumerOptions declared_consumer(const std::string& name, uint64_t max_deliveries = 16) {
  ConsumerOptions options;
  options.lane.name = name;
  options.lane.kind = storage::LaneKind::kConsumer;
  options.max_deliveries = max_deliveries;
  return options;
}

TEST_F(LeasesTest, DeclaredConsumersComeChangeAndGoWhileALeaseIsHeld) {
  options.consumers = {declared_consumer("central")};
  open();
  append(4, "e");
  const auto held = asker->lease(2);
  const auto declare = [&](std::vector<ConsumerOptions> consumers) {
    for (const ConsumerOptions& one : consumers) {
      if (store->lane(one.lane.name)) continue;
      EXPECT_TRUE(store->create_lane(one.lane));
    }
    EXPECT_TRUE(leases->may_declare(consumers));
    leases->declare(std::move(consumers));
  };
  declare({declared_consumer("central", 3), declared_consumer("other")});
  const auto shown = asker->ask(Asker::make(PullKind::kShow));
  EXPECT_EQ(shown->infos.front().options.max_deliveries, 3u);
  EXPECT_EQ(event_ids(asker->lease(1000, 0, "other")->body).size(), 4u);
  EXPECT_EQ(asker->ack(held->lease)->acked, 2u);
  // Taken out it goes on with the settings it had, also after a restart, and may be deleted.
  auto refused = Asker::make(PullKind::kDelete);
  EXPECT_THAT(asker->ask(std::move(refused))->status.error().message, HasSubstr("reload"));
  declare({declared_consumer("other")});
  EXPECT_THAT(event_ids(asker->lease()->body), ElementsAre("e2", "e3"));
  options.consumers = {declared_consumer("other")};
  reopen();
  const auto after = asker->ask(Asker::make(PullKind::kShow));
  ASSERT_TRUE(after->status);
  EXPECT_FALSE(after->infos.front().declared);
  EXPECT_EQ(after->infos.front().options.max_deliveries, 3u);
  EXPECT_TRUE(asker->ask(Asker::make(PullKind::kDelete))->status);
  // A name that was deleted may be declared at once.
  declare({declared_consumer("other"), declared_consumer("central")});
  EXPECT_EQ(event_ids(asker->lease()->body).size(), 4u);
}

TEST_F(LeasesTest, MoreConsumersThanThereMayBeAreNotDeclared) {
  open();
  asker->lease(1, 0, "made-at-run-time");
  std::vector<ConsumerOptions> many;
  for (int i = 0; i < 5; ++i) many.push_back(declared_consumer("c" + std::to_string(i)));
  const Status refused = leases->may_declare(many);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("would be 6 consumers"));
  many.pop_back();
  EXPECT_TRUE(leases->may_declare(many));
}

TEST(CountLeases, TellsWhatIsHeldGivenBackAndHandedOutAgain) {
  storage::LaneState state;
  state.shards.resize(1);
  const auto add = [&](uint64_t number, uint64_t first, uint64_t last, storage::RangeState range,
                       uint32_t attempts, int64_t until_ms, const std::string& owner) {
    storage::OpenRange open;
    open.number = number;
    open.first = first;
    open.last = last;
    open.state = range;
    open.attempts = attempts;
    open.not_before_ms = until_ms;
    open.owner = owner;
    state.shards[0].open[number] = open;
  };
  using storage::RangeState;
  add(1, 1, 10, RangeState::kLeased, 1, 2'000, "1 a");
  add(2, 11, 12, RangeState::kLeased, 2, 2'000, "2 b");
  add(3, 13, 15, RangeState::kLeased, 2, 2'000, "2 b");
  add(4, 20, 20, RangeState::kLeased, 1, 500, "3 c");  // its time is over
  add(5, 30, 31, RangeState::kDelayed, 1, 5'000, "");
  const LeaseCounts counts = count_leases(state, 1'000);
  EXPECT_EQ(counts.leases, 2u);
  EXPECT_EQ(counts.leased, 15u);
  EXPECT_EQ(counts.delayed, 3u);
  EXPECT_EQ(counts.redelivered, 5u + 3u);
}

TEST_F(LeasesTest, ALongPollIsWokenByACommit) {
  open();
  append(1, "first");
  asker->ack(asker->lease()->lease);
  std::thread later([&] {
    Asker& mine = new_asker();
    EXPECT_THAT(event_ids(mine.lease(10, 20'000)->body), ElementsAre("late0"));
  });
  wait_for_waiting(1);
  append(1, "late");
  later.join();
}

TEST_F(LeasesTest, AnUnknownConsumerIsMadeOnlyWhereItMayBe) {
  open();
  auto call = Asker::make(PullKind::kLease);
  call->may_create = false;
  const auto refused = asker->ask(std::move(call));
  EXPECT_EQ(refused->status.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(refused->code, "unknown_consumer");
  EXPECT_EQ(asker->ask(Asker::make(PullKind::kAck))->code, "unknown_consumer");
  EXPECT_TRUE(asker->lease()->empty);
  EXPECT_EQ(store->lane("central")->kind, storage::LaneKind::kConsumer);
}

TEST_F(LeasesTest, ConsumersAreABoundedNumberWithPlainNames) {
  open();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(asker->lease(1, 0, "c" + std::to_string(i))->status);
  EXPECT_THAT(asker->lease(1, 0, "c5")->status.error().message, HasSubstr("max_consumers"));
  EXPECT_FALSE(asker->lease(1, 0, "no name")->status);
}

TEST_F(LeasesTest, ADestinationIsNoConsumer) {
  storage::LaneOptions lane;
  lane.name = "saas";
  store_options.lanes = {lane};
  open();
  EXPECT_EQ(asker->lease(1, 0, "saas")->status.error().code, ErrorCode::kAlreadyExists);
}

TEST_F(LeasesTest, TenantsOfTheAskerMustCoverTheConsumers) {
  open();
  auto create = Asker::make(PullKind::kCreate, "narrow");
  create->create.lane.name = "narrow";
  create->create.filter_tenants = {"a"};
  ASSERT_TRUE(asker->ask(std::move(create))->status);
  asker->lease(1, 0, "wide");
  const auto as = [&](std::vector<std::string> tenants, const std::string& consumer) {
    auto call = Asker::make(PullKind::kLease, consumer);
    call->tenants = std::move(tenants);
    return asker->ask(std::move(call))->status.has_value();
  };
  EXPECT_TRUE(as({}, "narrow"));
  EXPECT_TRUE(as({"b", "a"}, "narrow"));
  EXPECT_FALSE(as({"b"}, "narrow"));
  EXPECT_FALSE(as({"a"}, "wide"));
}

TEST_F(LeasesTest, WhatWasMadeAtRunTimeIsAsItWasAfterARestart) {
  open();
  auto create = Asker::make(PullKind::kCreate, "bench");
  create->create.lane.name = "bench";
  create->create.lane.max_idle_ms = 90'000;
  create->create.sandbox = true;
  create->create.lease_ms = 7'000;
  ASSERT_TRUE(asker->ask(std::move(create))->status);
  reopen();
  const auto shown = asker->ask(Asker::make(PullKind::kShow, "bench"));
  ASSERT_EQ(shown->infos.size(), 1u);
  EXPECT_TRUE(shown->infos[0].options.sandbox);
  EXPECT_EQ(shown->infos[0].options.lease_ms, 7'000);
  EXPECT_EQ(shown->infos[0].options.lane.max_idle_ms, 90'000);
  EXPECT_FALSE(shown->infos[0].declared);
}

TEST_F(LeasesTest, ADeletedConsumerAnswersWhoWaitsAndForgetsItsPosition) {
  open();
  append(2, "e");
  asker->ack(asker->lease()->lease);
  std::thread waiting([&] {
    Asker& mine = new_asker();
    EXPECT_EQ(mine.lease(1, 20'000)->status.error().code, ErrorCode::kNotFound);
  });
  wait_for_waiting(1);
  EXPECT_TRUE(asker->ask(Asker::make(PullKind::kDelete))->status);
  waiting.join();
  EXPECT_FALSE(store->lane("central"));
  EXPECT_THAT(event_ids(asker->lease()->body), ElementsAre("e0", "e1"));
}

TEST_F(LeasesTest, ADeclaredConsumerIsNotDeleted) {
  ConsumerOptions declared;
  declared.lane.name = "main";
  declared.lane.kind = storage::LaneKind::kConsumer;
  options.consumers = {declared};
  store_options.lanes = {declared.lane};
  open();
  EXPECT_EQ(asker->ask(Asker::make(PullKind::kDelete, "main"))->code, "consumer_declared");
  EXPECT_TRUE(asker->lease(1, 0, "main")->empty);
}

TEST_F(LeasesTest, ATemporaryConsumerGoesWhenItWasIdle) {
  open();
  auto create = Asker::make(PullKind::kCreate, "bench");
  create->create.lane.name = "bench";
  create->create.lane.max_idle_ms = 50;
  create->create.temporary = true;
  ASSERT_TRUE(asker->ask(std::move(create))->status);
  EXPECT_TRUE(eventually([&] { return !store->lane("bench"); }));
}

TEST_F(LeasesTest, AfterTheStopCallsComeBackRefused) {
  open();
  std::thread waiting([&] {
    Asker& mine = new_asker();
    EXPECT_EQ(mine.lease(1, 20'000)->status.error().code, ErrorCode::kUnavailable);
  });
  wait_for_waiting(1);
  leases->stop();
  waiting.join();
  EXPECT_EQ(asker->lease()->code, "stopping");
}

TEST_F(LeasesTest, TooManyThatWaitAreRefused) {
  options.max_waiting = 1;
  open();
  std::thread waiting([&] {
    Asker& mine = new_asker();
    EXPECT_FALSE(mine.lease(1, 20'000)->status);
  });
  wait_for_waiting(1);
  EXPECT_EQ(asker->lease(1, 1'000)->code, "too_many_waiting");
  leases->stop();
  waiting.join();
}

TEST_F(LeasesTest, ARequeuedDeadLetterComesThroughTheRealStore) {
  open();
  append(2, "e");
  auto reject = Asker::make(PullKind::kAck);
  reject->lease = asker->lease()->lease;
  reject->rejects = {{{0, 1}, "bad"}};
  ASSERT_EQ(asker->ask(std::move(reject))->rejected, 1u);
  const auto failed = letters("central");
  ASSERT_EQ(failed.size(), 1u);
  EXPECT_EQ(store->fresh_counts()->total.failed, 1u);
  requeue(failed[0]);
  leases->look_for_requeued();
  const auto again = asker->lease(10, 5'000);
  EXPECT_THAT(event_ids(again->body), ElementsAre("e0"));
  EXPECT_EQ(asker->ack(again->lease)->acked, 1u);
  EXPECT_EQ(store->fresh_counts()->total.sent, 2u);
  EXPECT_TRUE(letters("central").empty());
}

TEST_F(LeasesTest, SeekTargetsAreRead) {
  EXPECT_EQ(parse_seek("latest")->kind, SeekTarget::Kind::kLatest);
  EXPECT_EQ(parse_seek("0-17,1-2")->positions, (std::vector<Position>{{0, 17}, {1, 2}}));
  EXPECT_EQ(parse_seek("2026-11-20T21:00:00Z")->wall_ms, 1'795'208'400'000);
  EXPECT_FALSE(parse_seek(""));
  EXPECT_FALSE(parse_seek("soon"));
}

}  // namespace
}  // namespace weir::forwarder::testing
