#include "storage/base/metrics.h"

#include <gtest/gtest.h>

#include <set>

namespace weir {
namespace {

TEST(Metrics, CellsOfOneSeriesAddUp) {
  MetricRegistry registry;
  registry.counter(Metric::kConnectionsTotal, {"ingest"}).add(2);
  registry.counter(Metric::kConnectionsTotal, {"ingest"}).add(3);
  registry.counter(Metric::kConnectionsTotal, {"admin"}).add(7);
  const auto series = registry.collect();
  ASSERT_EQ(series.size(), 2u);
  EXPECT_EQ(series[0].value, 7);
  EXPECT_EQ(series[1].value, 5);
}

TEST(Metrics, HistogramBucketsArePowersOfTwoInclusiveAbove) {
  Histogram histogram;
  for (uint64_t value : {0, 1, 2, 3, 4, 5}) histogram.record(value);
  EXPECT_EQ(histogram.bucket(0), 2u);  // 0, 1
  EXPECT_EQ(histogram.bucket(1), 1u);  // 2
  EXPECT_EQ(histogram.bucket(2), 2u);  // 3, 4
  EXPECT_EQ(histogram.bucket(3), 1u);  // 5
  histogram.record(UINT64_MAX);
  EXPECT_EQ(histogram.bucket(Histogram::kBuckets - 1), 1u);
}

TEST(Metrics, TooManyLabelValuesShareOneSeries) {
  MetricRegistry registry;
  for (size_t i = 0; i < MetricRegistry::kMaxSeries + 10; ++i)
    registry.counter(Metric::kHttpErrors, {std::to_string(i)}).add();
  const auto series = registry.collect();
  EXPECT_EQ(series.size(), MetricRegistry::kMaxSeries + 1);
}

TEST(MetricTable, NamesAreUniqueAndFollowTheConventions) {
  std::set<std::string_view> names;
  for (const MetricInfo& info : metric_table()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.name.substr(0, 5), "weir_");
    EXPECT_EQ(info.name.ends_with("_total"), info.type == MetricType::kCounter) << info.name;
    EXPECT_FALSE(info.help.empty());
  }
}

}  // namespace
}  // namespace weir
