#include "bench/load/histogram.h"

#include <gtest/gtest.h>

namespace weir::bench {
namespace {

TEST(LatencyHistogram, QuantilesAreWithinHalfAPercent) {
  LatencyHistogram histogram;
  for (uint64_t us = 1; us <= 100'000; ++us) histogram.record(us * 1000);
  for (const double quantile : {0.5, 0.9, 0.99, 0.999}) {
    const double exact = quantile * 100'000 * 1000;
    EXPECT_NEAR(static_cast<double>(histogram.quantile_ns(quantile)), exact, exact * 0.005);
  }
  EXPECT_EQ(histogram.quantile_ns(1), 100'000'000u);
  EXPECT_EQ(histogram.max_ns(), 100'000'000u);
  EXPECT_EQ(histogram.min_ns(), 1000u);
}

TEST(LatencyHistogram, AnEmptyOneAnswersZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.quantile_ns(0.99), 0u);
  EXPECT_EQ(histogram.mean_ns(), 0);
}

TEST(LatencyHistogram, MergingFromBucketsKeepsTheQuantiles) {
  LatencyHistogram original;
  for (uint64_t i = 0; i < 10'000; ++i) original.record(i * i);
  LatencyHistogram merged;
  for (const auto& [bucket, count] : original.used_buckets()) merged.add_bucket(bucket, count);
  EXPECT_EQ(merged.total(), original.total());
  for (const double quantile : {0.1, 0.5, 0.99})
    EXPECT_EQ(merged.quantile_ns(quantile), original.quantile_ns(quantile));
}

TEST(LatencyHistogram, HoursDoNotOverflow) {
  LatencyHistogram histogram;
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.total(), 1u);
  EXPECT_GT(histogram.quantile_ns(0.5), 3'600'000'000'000u);
}

}  // namespace
}  // namespace weir::bench
