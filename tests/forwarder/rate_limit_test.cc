#include "forwarder/rate_limit.h"

#include <gtest/gtest.h>

#include "tests/forwarder/lane_fixture.h"

namespace weir::forwarder::testing {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// Batches of `events` sent as soon as allowed, for ten seconds.
uint64_t sent_in_ten_seconds(const RateOptions& options, uint64_t events) {
  RateLimit limit(options);
  uint64_t sent = 0;
  for (int64_t now = 50 * kSecondNs; now < 60 * kSecondNs; now += kSecondNs / 1000)
    while (limit.ready_ns() <= now && sent < 10'000'000) {
      limit.charge(events, now);
      sent += events;
    }
  return sent;
}

TEST(RateLimit, HoldsTheRateWhateverTheBatchSize) {
  for (const uint64_t batch : {1, 10, 999, 5000}) {
    const uint64_t sent = sent_in_ten_seconds({.events = 1000, .batches = 0}, batch);
    EXPECT_GE(sent, 9'900u) << batch;
    EXPECT_LE(sent, 10'100u + batch) << batch;
  }
}

TEST(RateLimit, BatchesAreLimitedOnTheirOwn) {
  EXPECT_LE(sent_in_ten_seconds({.events = 0, .batches = 5}, 100), 52u * 100);
  EXPECT_GE(sent_in_ten_seconds({.events = 0, .batches = 5}, 100), 49u * 100);
}

TEST(RateLimit, ZeroIsNoLimit) { EXPECT_EQ(sent_in_ten_seconds({}, 1000), 10'000'000u); }

TEST(RateLimit, ARestDoesNotSaveUpForABurst) {
  RateLimit limit({.events = 100, .batches = 0});
  limit.charge(1, 1);
  int64_t now = 1000 * kSecondNs;
  uint64_t at_once = 0;
  while (limit.ready_ns() <= now) {
    limit.charge(1, now);
    ++at_once;
  }
  EXPECT_LE(at_once, 11u);
}

TEST_F(LaneTest, ALaneWithARateLimitSpreadsItsBatches) {
  options.rate_limit.events = 10;  // one batch of 10 a second
  options.concurrency = 4;
  open();
  store->append_many(40, "e");
  turn();
  EXPECT_EQ(destination->seen.size(), 1u);
  EXPECT_GT(lane->deadline_ns(), clock.monotonic_ns());
  for (int second = 2; second <= 4; ++second) {
    pass_ms(1'000);
    EXPECT_EQ(destination->seen.size(), static_cast<size_t>(second));
  }
}

}  // namespace
}  // namespace weir::forwarder::testing
