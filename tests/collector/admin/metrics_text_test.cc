// /metrics is the text format: families with HELP and TYPE, escaped labels, cumulative buckets in
// base units.
#include "collector/admin/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <sstream>

#include "collector/admin/process_stats.h"

namespace weir::admin {
namespace {

using ::testing::HasSubstr;

TEST(MetricsText, EveryLineFollowsTheGrammar) {
  MetricRegistry registry;
  registry.counter(Metric::kHttpErrors, {"weird \"label\"\\\n"}).add(3);
  registry.gauge(Metric::kStoreState).set(1);
  registry.histogram(Metric::kCommitSeconds, {"0"}).record(1500);
  ProcessMetrics process(registry);
  process.update();
  std::istringstream text(metrics_text(registry));
  const std::regex sample(
      R"re([a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_]\w*="([^"\\\n]|\\["\\n])*"(,[a-zA-Z_]\w*="([^"\\\n]|\\["\\n])*")*\})? (-?[0-9.e+-]+|\+Inf|NaN))re");
  size_t samples = 0;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) continue;
    EXPECT_TRUE(std::regex_match(line, sample)) << line;
    ++samples;
  }
  EXPECT_GT(samples, 30u);
}

TEST(MetricsText, HistogramsAreCumulativeAndInSeconds) {
  MetricRegistry registry;
  Histogram& histogram = registry.histogram(Metric::kCommitSeconds, {"0"});
  histogram.record(1 << 20);  // about a millisecond
  histogram.record(1 << 20);
  histogram.record(1 << 21);
  const std::string text = metrics_text(registry);
  EXPECT_THAT(text, HasSubstr("# TYPE weir_commit_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("weir_commit_seconds_count{shard=\"0\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weir_commit_seconds_bucket{shard=\"0\",le=\"0.001048576\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weir_commit_seconds_sum{shard=\"0\"} 0.00419"));
}

TEST(MetricsText, ValuesOutsideOfTheExportedBucketsAreCounted) {
  MetricRegistry registry;
  Histogram& histogram = registry.histogram(Metric::kCommitSeconds, {"0"});
  histogram.record(1);           // a nanosecond
  histogram.record(UINT64_MAX);  // centuries
  const std::string text = metrics_text(registry);
  EXPECT_THAT(text, HasSubstr("weir_commit_seconds_count{shard=\"0\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("le=\"1.024e-06\"} 1\n"));
}

TEST(ProcessStats, ReadsWhatTheKernelSays) {
  const ProcessStats stats = read_process_stats();
  EXPECT_GT(stats.resident_bytes, 1u << 20);
  EXPECT_GT(stats.anonymous_bytes, 0u);
  EXPECT_LE(stats.anonymous_bytes, stats.resident_bytes);
  EXPECT_GE(stats.open_files, 3u);
  EXPECT_GE(stats.threads, 1u);
}

}  // namespace
}  // namespace weir::admin
