#include "collector/event/rate_bucket.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace weir::event {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(RateBucket, LetsTheBurstThroughThenTheRate) {
  RateBucket bucket(100, 10);
  int64_t now = kSecond;
  int taken = 0;
  while (bucket.wait_ns(now) == 0) {
    bucket.take(1, now);
    ++taken;
  }
  EXPECT_EQ(taken, 10);
  EXPECT_NEAR(static_cast<double>(bucket.wait_ns(now)), 1e7, 1e3);
  // Over ten seconds: the rate.
  for (; now < 11 * kSecond; now += 1'000'000)
    if (bucket.wait_ns(now) == 0) {
      bucket.take(1, now);
      ++taken;
    }
  EXPECT_NEAR(taken, 10 + 1000, 2);
}

TEST(RateBucket, APauseGivesBackTheBurstAndNotMore) {
  RateBucket bucket(100, 10);
  bucket.take(1'000, kSecond);
  EXPECT_GT(bucket.wait_ns(kSecond), 9 * kSecond);
  const int64_t later = 3600 * kSecond;
  int taken = 0;
  while (bucket.wait_ns(later) == 0) {
    bucket.take(1, later);
    ++taken;
  }
  EXPECT_EQ(taken, 10);
}

TEST(RateBucket, NothingIsLostBetweenThreads) {
  RateBucket bucket(1'000'000, 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) bucket.take(1, 0);
    });
  for (std::thread& thread : threads) thread.join();
  // 40,000 events at a million a second were taken up to 40 ms from now.
  EXPECT_EQ(bucket.wait_ns(0), 40'000'000);
}

}  // namespace
}  // namespace weir::event
