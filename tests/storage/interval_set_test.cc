#include "storage/interval_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace weir::storage {
namespace {

TEST(IntervalSet, AgreesWithASetOfNumbers) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    const auto number = [&](uint64_t to) {
      return std::uniform_int_distribution<uint64_t>(0, to)(random);
    };
    IntervalSet sets[2];
    std::set<uint64_t> plain[2];
    for (int s = 0; s < 2; ++s) {
      for (uint64_t i = number(8); i > 0; --i) {
        const uint64_t first = 1 + number(60), last = first + number(12) - 1;
        sets[s].add(first, last);
        for (uint64_t n = first; n <= last; ++n) plain[s].insert(n);
      }
    }
    const uint64_t low = 1 + number(30), high = low + number(40);
    std::set<uint64_t> expected;
    for (uint64_t n : plain[0])
      if (n >= low && n <= high && !plain[1].contains(n)) expected.insert(n);
    std::set<uint64_t> got;
    IntervalSet difference = sets[0].without(sets[1], low, high);
    uint64_t before = 0;
    for (const Interval& i : difference.intervals()) {
      EXPECT_GT(i.first, before);
      before = i.last;
      for (uint64_t n = i.first; n <= i.last; ++n) got.insert(n);
    }
    ASSERT_EQ(got, expected) << "seed " << seed;
    for (uint64_t n = 0; n < 90; ++n) ASSERT_EQ(sets[0].contains(n), plain[0].contains(n));
  }
}

}  // namespace
}  // namespace weir::storage
