// A lane on one thread with a clock set by hand, a store in memory and a destination whose answers
// the test gives: every step is deterministic.
#pragma once

#include <gtest/gtest.h>

#include <set>

#include "forwarder/compression.h"
#include "forwarder/encoder.h"
#include "forwarder/lane.h"
#include "forwarder/retry_policy.h"
#include "tests/forwarder/event_ids.h"
#include "tests/forwarder/fake_store.h"

namespace weir::forwarder::testing {

class FakeDestination : public Destination {
 public:
  struct Seen {
    std::string batch_id;
    std::string body;
    std::vector<std::string> ids;
  };

  FakeDestination() : compressor_(*Compressor::make(Compression::kNone)) {}

  std::unique_ptr<Encoder> make_encoder() override {
    return std::make_unique<JsonEncoder>(BodyFormat::kJson, "edge", "store", *compressor_);
  }
  void send(Send& send) override {
    in_flight_.push_back(&send);
    seen.push_back({std::string(send.batch_id), std::string(send.body), event_ids(send.body)});
  }
  Send* take_finished() override {
    Send* chain = finished_;
    finished_ = nullptr;
    return chain;
  }
  void abandon() override { in_flight_.clear(); }
  int poll_fd() const override { return -1; }
  int64_t deadline_ns() const override { return INT64_MAX; }

  size_t in_flight() const { return in_flight_.size(); }
  const Send& peek(size_t i = 0) const { return *in_flight_.at(i); }
  // Answers the i-th request in flight.
  void answer(int status, std::string_view retry_after = {}, size_t i = 0) {
    Send* send = in_flight_.at(i);
    in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(i));
    HttpAnswer answer;
    answer.status = status;
    answer.retry_after = retry_after;
    answer.snippet = "said no";
    if (status == 0) answer.error = "connection refused";
    send->outcome = classify_http(answer, send->events, 1'700'000'000'000);
    send->next = finished_;
    finished_ = send;
  }

  std::vector<Seen> seen;

 private:
  std::unique_ptr<Compressor> compressor_;
  std::vector<Send*> in_flight_;
  Send* finished_ = nullptr;
};

class LaneTest : public ::testing::Test {
 protected:
  LaneTest() {
    options.name = "saas";
    options.url = "http://127.0.0.1:1/";
    options.batch.max_events = 10;
    options.batch.linger_ms = 200;
    options.concurrency = 2;
    options.retry.base_ms = 500;
    budget.limit = 64 << 20;
  }
  ~LaneTest() override { end(); }

  void open(FakeDisk disk = {}) {
    store = std::make_unique<FakeStore>(std::move(disk));
    store->add_lane_if_missing("saas");
    begin();
  }
  // Kill -9 and start again: what was applied is all there is.
  void crash() {
    FakeDisk disk = store->disk();
    store->drop_held();
    end();
    open(std::move(disk));
  }

  // As often as something happens without time passing.
  void turn() {
    for (int i = 0; i < 200; ++i) {
      for (auto* update = client->take_outcomes(); update != nullptr;) {
        auto* const next = update->next;
        lane->on_mark(*update);
        update = next;
      }
      lane->begin_turn();
      lane->take_outcomes();
      lane->read_ahead();
      lane->send_due();
    }
  }
  void pass_ms(int64_t ms) {
    clock.advance_ms(ms);
    turn();
  }
  // Answers everything with `status` until nothing is in flight and time brings nothing new.
  void deliver_all(int status = 200, int rounds = 500) {
    for (int i = 0; i < rounds; ++i) {
      turn();
      if (destination->in_flight() > 0)
        destination->answer(status);
      else
        clock.advance_ms(2'000);
    }
    turn();
  }

  storage::LaneState state() const { return *store->lane("saas"); }
  std::multiset<std::string> sent_ids() const {
    std::multiset<std::string> ids;
    for (const auto& seen : destination->seen) ids.insert(seen.ids.begin(), seen.ids.end());
    return ids;
  }

  DestinationOptions options;
  ManualClock clock;
  MetricRegistry metrics;
  Budget budget;
  Wakeup wakeup;
  std::unique_ptr<FakeStore> store;
  std::unique_ptr<storage::LaneClient> client;
  FakeDestination* destination = nullptr;  // the lane's
  std::unique_ptr<Lane> lane;

 private:
  void begin() {
    client = store->make_lane_client(wakeup);
    auto owned = std::make_unique<FakeDestination>();
    destination = owned.get();
    lane = std::make_unique<Lane>(
        options, Lane::Surroundings{*store, *client, clock, metrics, budget}, std::move(owned));
    lane->start();
  }
  void end() {
    lane.reset();
    client.reset();
    if (store) store->drop_held();
    store.reset();
  }
};

}  // namespace weir::forwarder::testing
