// What the live view reads from the metrics, and quantiles from their buckets.
#include "collector/admin/metric_digest.h"

#include <gtest/gtest.h>

namespace weir::admin {
namespace {

TEST(MetricDigest, SumsOverReactorsAndShards) {
  MetricRegistry metrics;
  metrics.counter(Metric::kEvents, {"native", "rejected", "missing_name"}).add(2);
  metrics.counter(Metric::kEvents, {"segment", "rejected", "missing_name"}).add(3);
  metrics.counter(Metric::kEvents, {"native", "stored", ""}).add(50);
  metrics.counter(Metric::kPipelineErrors, {"disk_full"}).add(4);
  metrics.gauge(Metric::kConnectionsOpen, {"ingest"}).set(5);
  metrics.gauge(Metric::kDedupeBytes, {"0"}).set(100);
  metrics.gauge(Metric::kDedupeBytes, {"1"}).set(200);
  metrics.histogram(Metric::kCommitSeconds, {"0"}).record(1000);
  metrics.histogram(Metric::kCommitSeconds, {"1"}).record(1000);
  const MetricDigest digest = digest_metrics(metrics);
  EXPECT_EQ(digest.rejected, (std::map<std::string, uint64_t>{{"missing_name", 5}}));
  EXPECT_EQ(digest.refused, (std::map<std::string, uint64_t>{{"disk_full", 4}}));
  EXPECT_EQ(digest.connections, (std::map<std::string, uint64_t>{{"ingest", 5}}));
  EXPECT_EQ(digest.dedupe_bytes, 300u);
  EXPECT_EQ(digest.commit[10], 2u);
}

TEST(MetricDigest, QuantilesLieInTheBucketOfTheirRank) {
  LatencyBuckets before{}, after{};
  EXPECT_EQ(quantiles_between(before, after).count, 0u);
  before[20] = 7;
  after = before;
  after[20] += 90;  // up to 1.05 ms
  after[24] += 10;  // up to 16.8 ms
  const Quantiles quantiles = quantiles_between(before, after);
  EXPECT_EQ(quantiles.count, 100u);
  EXPECT_GT(quantiles.p50_ms, 0.52);
  EXPECT_LT(quantiles.p50_ms, 1.05);
  EXPECT_GT(quantiles.p95_ms, 8.3);
  EXPECT_LE(quantiles.p95_ms, quantiles.p99_ms);
  EXPECT_LE(quantiles.p99_ms, 16.8);
}

}  // namespace
}  // namespace weir::admin
