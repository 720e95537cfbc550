// The dedupe index against a plain map, and its bounds: memory, the cap, the window, step times.
#include "storage/dedupe_index.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>

#include "storage/base/clock.h"
#include "storage/base/ids.h"

namespace weir::storage {
namespace {

constexpr int64_t kHour = 3'600'000;
constexpr int64_t kNow = 1'700'000'000'000;

Fingerprint random_fingerprint(std::mt19937_64& random) { return {random(), random() | 1}; }

TEST(DedupeIndex, AKeyIsFoundWithItsNumberUntilItIsErased) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  const Fingerprint a{1, 2};
  EXPECT_EQ(index.find_or_insert(a, 10), 0u);
  EXPECT_EQ(index.find_or_insert(a, 11), 10u);
  index.erase(a);
  EXPECT_EQ(index.size(), 0u);
  EXPECT_EQ(index.find_or_insert(a, 12), 0u);
  EXPECT_EQ(index.find_or_insert(a, 13), 12u);
}

TEST(DedupeIndex, BehavesLikeAMapUnderRandomInsertionsAndErasures) {
  std::mt19937_64 random(7);
  // Few distinct orders and tables, so that runs are long and collisions frequent.
  for (const bool clustered : {false, true}) {
    DedupeIndex index({100'000, 24 * kHour}, kNow);
    std::unordered_map<uint64_t, uint64_t> model;
    for (uint64_t number = 1; number < 60'000; ++number) {
      const uint64_t key = random() % 20'000;
      const Fingerprint fingerprint = clustered
                                          ? Fingerprint{(key % 97) << 32 | key, key + 1}
                                          : Fingerprint{key * 0x9e3779b97f4a7c15, key << 40 | 1};
      if (random() % 4 == 0) {
        index.erase(fingerprint);
        model.erase(key);
      } else {
        const uint64_t found = index.find_or_insert(fingerprint, number);
        const auto [at, inserted] = model.emplace(key, number);
        ASSERT_EQ(found, inserted ? 0 : at->second) << number;
      }
      ASSERT_EQ(index.size(), model.size());
      if (number % 256 == 0) index.advance(kNow);
    }
  }
}

TEST(DedupeIndex, AKeyIsForgottenAfterTheWindowAndNotBefore) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  const Fingerprint a{1, 2};
  index.find_or_insert(a, 10);
  index.advance(kNow + 24 * kHour - 1);
  EXPECT_EQ(index.find_or_insert(a, 11), 10u);
  EXPECT_GE(index.effective_window_ms(kNow + 24 * kHour - 1), 24 * kHour - 20'000);
  // One tick is the resolution.
  index.advance(kNow + 24 * kHour + 30'000);
  EXPECT_EQ(index.size(), 0u);
  EXPECT_EQ(index.evicted_by_window(), 1u);
  EXPECT_EQ(index.find_or_insert(a, 12), 0u);
}

TEST(DedupeIndex, AtTheCapTheOldestLeaveFirst) {
  std::mt19937_64 random(3);
  DedupeIndex index({10'000, 24 * kHour}, kNow);
  std::vector<Fingerprint> all;
  int64_t now = kNow;
  for (uint64_t number = 1; number <= 50'000; ++number) {
    all.push_back(random_fingerprint(random));
    ASSERT_EQ(index.find_or_insert(all.back(), number), 0u);
    if (number % 100 == 0) index.advance(now += 60'000);
    ASSERT_LE(index.size(), 10'100u);
  }
  EXPECT_GT(index.evicted_by_cap(), 39'000u);
  EXPECT_LT(index.effective_window_ms(now), 2 * kHour);
  for (size_t i = 41'000; i < 50'000; ++i)
    ASSERT_EQ(index.find_or_insert(all[i], 60'000), i + 1) << "a young key was forgotten";
  EXPECT_EQ(index.find_or_insert(all[0], 60'001), 0u);
}

TEST(DedupeIndex, ABurstBeyondTheCapWithinOneMomentKeepsTheNewest) {
  std::mt19937_64 random(4);
  DedupeIndex index({6'400, 24 * kHour}, kNow);
  std::vector<Fingerprint> all;
  for (uint64_t number = 1; number <= 20'000; ++number) {
    all.push_back(random_fingerprint(random));
    index.find_or_insert(all.back(), number);
    if (number % 64 == 0) index.advance(kNow);
  }
  EXPECT_LE(index.size(), 6'400u);
  EXPECT_GE(index.size(), 6'000u) << "not more than a little was forgotten";
  EXPECT_EQ(index.find_or_insert(all.back(), 30'000), 20'000u);
}

TEST(DedupeIndex, LoadingStopsAtTheCapAndAtTheWindow) {
  DedupeIndex index({100, 24 * kHour}, kNow);
  EXPECT_FALSE(index.load({1, 1}, 1, kNow - 25 * kHour));
  uint64_t loaded = 0;
  for (uint64_t i = 1; i <= 150; ++i)
    if (index.load({i << 33, i << 57}, i, kNow - static_cast<int64_t>(i) * 1000)) ++loaded;
  EXPECT_EQ(loaded, 100u);
  EXPECT_EQ(index.find_or_insert({uint64_t{1} << 33, uint64_t{1} << 57}, 999), 1u);
}

TEST(DedupeIndex, WhatWasStoredBeforeARestartLeavesSegmentBySegment) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  index.expect(1, 99, kNow - 20 * kHour, kNow - 19 * kHour);
  index.expect(100, 199, kNow - 2 * kHour, kNow - kHour);
  const Fingerprint young{1, uint64_t{1} << 60};
  const Fingerprint old{2, uint64_t{1} << 62};
  ASSERT_TRUE(index.load(young, 150, kNow - 90 * kHour / 60));
  ASSERT_TRUE(index.load(old, 50, kNow - 1170 * kHour / 60));
  EXPECT_EQ(index.effective_window_ms(kNow), 20 * kHour);
  index.advance(kNow + 5 * kHour - 1000);
  EXPECT_EQ(index.find_or_insert(old, 200), 50u) << "within 24 hours of its segment's end";
  index.advance(kNow + 5 * kHour + 1000);
  EXPECT_EQ(index.evicted_by_window(), 1u);
  EXPECT_EQ(index.find_or_insert(old, 200), 0u);
  EXPECT_EQ(index.find_or_insert(young, 201), 150u);
  EXPECT_EQ(index.size(), 2u);
}

TEST(DedupeIndex, SegmentsThatContradictEachOtherAreNotFollowed) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  index.expect(100, 199, kNow - 3 * kHour, kNow - 2 * kHour);
  index.expect(150, 160, kNow - 2 * kHour, kNow - kHour);
  index.expect(300, 200, kNow - 2 * kHour, kNow - kHour);
  ASSERT_TRUE(index.load({1, 1}, 155, kNow - kHour));
  ASSERT_TRUE(index.load({2, 2}, 7, kNow - kHour)) << "of no segment: not kept, nothing ends";
  EXPECT_EQ(index.find_or_insert({1, 1}, 400), 155u);
  EXPECT_EQ(index.find_or_insert({2, 2}, 401), 0u);
  EXPECT_EQ(index.size(), 2u);
}

TEST(DedupeIndex, AGroupThatWasTakenBackGivesItsNumbersAgain) {
  DedupeIndex index({64, 24 * kHour}, kNow);  // a tick for every two entries
  const auto fingerprint = [](uint64_t i) { return Fingerprint{i << 33, i << 57}; };
  for (uint64_t i = 1; i <= 10; ++i) ASSERT_EQ(index.find_or_insert(fingerprint(i), i), 0u);
  for (uint64_t i = 1; i <= 10; ++i) index.erase(fingerprint(i));
  EXPECT_EQ(index.size(), 0u);
  for (uint64_t i = 11; i <= 20; ++i) ASSERT_EQ(index.find_or_insert(fingerprint(i), i - 10), 0u);
  EXPECT_EQ(index.size(), 10u);
  index.advance(kNow + 1000);
  for (uint64_t i = 11; i <= 20; ++i) ASSERT_EQ(index.find_or_insert(fingerprint(i), 99), i - 10);
}

TEST(DedupeIndex, AKeyWhoseOriginalWasLostIsNoDuplicate) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  index.find_or_insert({1, 2}, 10);
  index.find_or_insert({3, 4}, 20);
  index.lose(5, 15);
  EXPECT_EQ(index.find_or_insert({1, 2}, 30), 0u);
  EXPECT_EQ(index.find_or_insert({1, 2}, 31), 30u);
  EXPECT_EQ(index.find_or_insert({3, 4}, 32), 20u);
  EXPECT_EQ(index.size(), 2u);
}

TEST(DedupeIndex, AClockThatJumpsBackForgetsNothing) {
  DedupeIndex index({1000, 24 * kHour}, kNow);
  index.find_or_insert({1, 2}, 10);
  index.advance(kNow - 48 * kHour);
  index.find_or_insert({3, 4}, 11);
  index.advance(kNow);
  EXPECT_EQ(index.find_or_insert({1, 2}, 12), 10u);
  EXPECT_EQ(index.find_or_insert({3, 4}, 12), 11u);
}

#ifndef WEIR_TINY_LIMITS  // tiny tables leave most of their pages empty
TEST(DedupeIndex, TakesAtMost24BytesPerEntryAtTheCap) {
  std::mt19937_64 random(5);
  constexpr uint64_t kCap = 1'000'000;
  DedupeIndex index({kCap, 24 * kHour}, kNow);
  const uint64_t fixed = index.bytes();
  uint64_t most = 0;
  for (uint64_t number = 1; number <= kCap * 5 / 4; ++number) {
    index.find_or_insert(random_fingerprint(random), number);
    if (number % 512 == 0) {
      index.advance(kNow + static_cast<int64_t>(number / 16));
      most = std::max(most, index.bytes() - fixed);
    }
  }
  EXPECT_LE(most, 24 * kCap);
  EXPECT_LE(index.size(), kCap);
  EXPECT_GE(index.size(), kCap - kCap / 32);
}

TEST(DedupeIndex, AtTheCapForgottenEntriesMakeRoomForNewOnes) {
  std::mt19937_64 random(9);
  constexpr uint64_t kCap = 200'000;
  DedupeIndex index({kCap, 24 * kHour}, kNow);
  uint64_t settled = 0;
  for (uint64_t number = 1; number <= kCap * 6; ++number) {
    ASSERT_EQ(index.find_or_insert(random_fingerprint(random), number), 0u);
    if (number % 256 == 0) index.advance(kNow + static_cast<int64_t>(number / 16));
    if (number == kCap * 2) settled = index.bytes();
  }
  EXPECT_LE(index.bytes(), settled + settled / 50) << "six times the cap went through";
  EXPECT_GE(index.size(), kCap - kCap / 32);
}

#endif

TEST(DedupeIndex, ATableFarLargerThanItsShareStillFindsEverything) {
  DedupeIndex index({20'000, 24 * kHour}, kNow);
  // All in the first table, which has room for its share and a quarter.
  for (uint64_t i = 1; i <= 19'000; ++i)
    ASSERT_EQ(index.find_or_insert({hash64(std::to_string(i)), i}, i), 0u);
  for (uint64_t i = 1; i <= 19'000; ++i)
    ASSERT_EQ(index.find_or_insert({hash64(std::to_string(i)), i}, 1), i);
  for (uint64_t i = 1; i <= 19'000; ++i) index.erase({hash64(std::to_string(i)), i});
  EXPECT_EQ(index.size(), 0u);
  for (uint64_t i = 1; i <= 100; ++i)
    ASSERT_EQ(index.find_or_insert({hash64(std::to_string(i)), i}, i), 0u);
}

TEST(DedupeIndex, ManyRoundsOfForgettingNeverReviveAKey) {
  // One tick per entry: each time around some are forgotten.
  std::mt19937_64 random(6);
  DedupeIndex index({500, kHour}, kNow);
  int64_t now = kNow;
  std::vector<Fingerprint> recent;
  for (uint64_t number = 1; number <= 80'000; ++number) {
    index.advance(now += 450);  // one tick
    const Fingerprint fingerprint = random_fingerprint(random);
    ASSERT_EQ(index.find_or_insert(fingerprint, number), 0u);
    recent.push_back(fingerprint);
    if (number > 2'000 && number % 500 == 0) {
      const Fingerprint& old = recent[number - 1'900];
      ASSERT_EQ(index.find_or_insert(old, number), 0u);
      index.erase(old);
    }
  }
}

}  // namespace
}  // namespace weir::storage
