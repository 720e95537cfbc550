// A pull consumer on one thread with a clock set by hand and a store in memory: every step is
// deterministic.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "forwarder/consumer.h"
#include "tests/forwarder/event_ids.h"
#include "tests/forwarder/fake_store.h"

namespace weir::forwarder::testing {

class ConsumerTest : public ::testing::Test {
 protected:
  ConsumerTest() {
    consumer_options.lane.name = "central";
    consumer_options.lane.kind = storage::LaneKind::kConsumer;
    consumer_options.max_open_ranges = 20;
    options.node = "edge";
    options.max_events = 10'000;
    for (const Compression one : {Compression::kNone, Compression::kGzip, Compression::kZstd})
      compressors[static_cast<size_t>(one)] = *Compressor::make(one);
  }
  ~ConsumerTest() override { end(); }

  void open(FakeDisk disk = {}) {
    store = std::make_unique<FakeStore>(std::move(disk));
    if (!store->lane("central")) {
      ASSERT_TRUE(store->create_lane(consumer_options.lane));
    }
    begin();
  }
  // Kill -9 and start again: what was applied is all there is. The monotonic clock starts anew.
  void crash(int64_t wall_jump_ms = 0) {
    FakeDisk disk = store->disk();
    store->drop_held();
    end();
    clock.set_wall_ms(clock.wall_ms() + wall_jump_ms);
    open(std::move(disk));
  }

  void turn() {
    for (int i = 0; i < 20; ++i) {
      for (auto* update = client->take_outcomes(); update != nullptr;) {
        auto* const next = update->next;
        auto& mark = *static_cast<Consumer::Mark*>(update->context);
        mark.consumer->on_mark(mark);
        update = next;
      }
      consumer->turn();
    }
  }
  void pass_ms(int64_t ms) {
    clock.advance_ms(ms);
    turn();
  }

  PullCall& new_call(PullKind kind) {
    PullCall& call = *calls.emplace_back(std::make_unique<PullCall>());
    call.kind = kind;
    call.consumer = "central";
    call.holder = "tester";
    return call;
  }
  PullCall& ask_lease(uint64_t max_events = 1000, int64_t wait_ms = 0) {
    PullCall& call = new_call(PullKind::kLease);
    call.max_events = max_events;
    call.wait_ms = wait_ms;
    consumer->lease(call);
    turn();
    return call;
  }
  PullCall& ack(const std::string& lease, std::vector<PullCall::Nack> nacks = {},
                std::vector<PullCall::Reject> rejects = {}) {
    PullCall& call = new_call(PullKind::kAck);
    call.lease = lease;
    call.nacks = std::move(nacks);
    call.rejects = std::move(rejects);
    consumer->ack(call);
    turn();
    return call;
  }
  PullCall& release(const std::string& lease) {
    PullCall& call = new_call(PullKind::kRelease);
    call.lease = lease;
    consumer->release(call);
    turn();
    return call;
  }
  PullCall& renew(const std::string& lease, int64_t lease_ms = 0) {
    PullCall& call = new_call(PullKind::kRenew);
    call.lease = lease;
    call.lease_ms = lease_ms;
    consumer->renew(call);
    turn();
    return call;
  }
  PullCall& seek(SeekTarget target) {
    PullCall& call = new_call(PullKind::kSeek);
    call.seek = std::move(target);
    consumer->seek(call);
    turn();
    return call;
  }

  bool answered(const PullCall& call) const { return finished.contains(&call); }
  static std::vector<std::string> ids(const PullCall& call) { return event_ids(call.body); }
  storage::LaneState state() const { return *store->lane("central"); }
  size_t open_ranges() const {
    size_t open = 0;
    for (const auto& shard : state().shards) open += shard.open.size();
    return open;
  }
  std::vector<storage::DeadLetter> letters() const {
    storage::DeadLetterFilter filter;
    filter.lane = "central";
    filter.limit = 100'000;
    return *store->dead_letters(filter);
  }
  static Position at(uint64_t number, uint16_t shard = 0) { return {shard, number}; }

  ConsumerOptions consumer_options;
  PullOptions options;
  ManualClock clock;
  MetricRegistry metrics;
  Wakeup wakeup;
  std::atomic<uint64_t> memory{0};
  std::array<std::unique_ptr<Compressor>, 3> compressors;
  std::unique_ptr<FakeStore> store;
  std::unique_ptr<storage::LaneClient> client;
  std::unique_ptr<PullCells> cells;
  std::unique_ptr<Consumer> consumer;
  std::vector<std::unique_ptr<PullCall>> calls;
  std::multiset<const PullCall*> finished;

 private:
  void begin() {
    client = store->make_lane_client(wakeup);
    if (!cells) cells = std::make_unique<PullCells>(metrics, "central");
    consumer = std::make_unique<Consumer>(
        consumer_options, true,
        Consumer::Surroundings{*store, *client, clock, options, compressors, memory,
                               [this](PullCall& call) {
                                 finished.insert(&call);
                                 if (call.kind == PullKind::kLease && call.status)
                                   memory -= call.body.size();
                               }},
        *cells);
    ASSERT_TRUE(consumer->load());
  }
  void end() {
    consumer.reset();
    client.reset();
    if (store) store->drop_held();
    store.reset();
  }
};

}  // namespace weir::forwarder::testing
