// What the tests of forwarder/ over the real store share: the store in a directory of its own,
// events for it, and an operator who requeues.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/storage/store_fixture.h"

namespace weir::forwarder::testing {

class OverStore : public ::testing::Test {
 protected:
  OverStore() : store_options(storage::small_options(directory.path())) {}

  // Before other threads: it checks its files in a forked child.
  void open_store() { store = storage::open_store(store_options, metrics); }
  // The order main uses: what works on the store stops, then the store, then both end.
  void stop_store() {
    if (store) store->stop();
    operator_.reset();  // lane clients outlive the store's stop
  }

  void append(int count, const std::string& prefix, const std::string& tenant = "acme") {
    std::vector<storage::TestEvent> events;
    for (int i = 0; i < count; ++i) {
      const std::string key = prefix + std::to_string(i);
      events.push_back({key, tenant, "{\"n\":\"" + key + "\"}"});
    }
    storage::TestClient client(*store);
    EXPECT_EQ(client.send(events).request.outcome, storage::AppendOutcome::kCommitted);
  }
  std::vector<storage::DeadLetter> letters(const std::string& lane) const {
    storage::DeadLetterFilter filter;
    filter.lane = lane;
    return *store->dead_letters(filter);
  }
  // Who owns the lane is to be told by the test.
  void requeue(const storage::DeadLetter& letter) {
    if (!operator_) operator_ = store->make_lane_client(operator_wakeup_);
    storage::LaneUpdate update;
    update.lane = letter.lane;
    update.dead_letter_changes.emplace_back();
    update.dead_letter_changes[0].id = letter.id;
    update.dead_letter_changes[0].kind = storage::LaneUpdate::DeadLetterChange::Kind::kRequeued;
    operator_->submit(update);
    ASSERT_TRUE(eventually([&] { return operator_->take_outcomes() != nullptr; }));
    ASSERT_TRUE(update.outcome);
  }
  static bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 4000; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return holds();
  }

  storage::TestDirectory directory;
  MetricRegistry metrics;
  storage::StoreOptions store_options;
  std::unique_ptr<storage::Store> store;

 private:
  Wakeup operator_wakeup_;
  std::unique_ptr<storage::LaneClient> operator_;
};

}  // namespace weir::forwarder::testing
