#include "bench/load/result.h"

#include <gtest/gtest.h>

#include <fstream>

#include "bench/load/fail_if.h"
#include "bench/load/progress.h"
#include "bench/load/result_file.h"
#include "bench/load/verify.h"

namespace weir::bench {
namespace {

RunResult sample(const std::string& started_at, uint64_t latency_ns) {
  RunResult result;
  result.url = "http://edge.example:8080/v1/events";
  result.load = "native: 1 x 400 B";
  result.started_at = started_at;
  result.seconds = 2;
  result.connections = 64;
  result.server.known = true;
  result.server_source = "/proc";
  result.server.user_seconds = 0.5;
  result.load_seconds = 0.25;
  result.server_metrics["weir_events_total{outcome=\"stored\"}"] = 2000;
  for (int second = 0; second < 2; ++second) {
    Interval& interval = result.intervals.emplace_back();
    interval.seconds = 1;
    interval.server_seconds = 0.25;
    interval.tally.requests = interval.tally.events = 1000;
    interval.tally.status_class[2] = 1000;
    for (int i = 0; i < 1000; ++i) interval.tally.latency.record(latency_ns);
    result.total.add(interval.tally);
  }
  return result;
}

RunResult through_a_file(const RunResult& result) {
  const std::string path = testing::TempDir() + "weir-bench-result.json";
  std::ofstream(path) << result_json(result);
  const auto read = read_result(path);
  EXPECT_TRUE(read) << read.error().message;
  return *read;
}

TEST(ResultFile, WhatIsWrittenIsReadBack) {
  // The upper bound of a bucket of the histogram, which is what is written.
  const RunResult written = sample("2026-11-20T21:00:00.000Z", 1'001'471);
  EXPECT_EQ(result_json(through_a_file(written)), result_json(written));
}

TEST(ResultFile, AnotherFileIsRefusedByName) {
  const std::string path = testing::TempDir() + "weir-bench-other.json";
  for (const char* text : {"{}", "[]", "not JSON", ""}) {
    std::ofstream(path) << text;
    const auto read = read_result(path);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().message.find(path), std::string::npos);
  }
  EXPECT_FALSE(read_result("/nowhere/result.json"));
}

TEST(Merge, LoadAddsUpAndTheTargetIsCountedOnce) {
  const RunResult merged = merge_results({sample("2026-11-20T21:00:01.100Z", 9'000'000),
                                          sample("2026-11-20T21:00:00.000Z", 1'000'000)});
  EXPECT_EQ(merged.total.requests, 4000u);
  EXPECT_EQ(merged.connections, 128u);
  EXPECT_DOUBLE_EQ(merged.server.cpu_seconds(), 0.5);
  EXPECT_DOUBLE_EQ(merged.load_seconds, 0.5);
  EXPECT_LT(merged.total.latency.quantile_ns(0.5), 2'000'000u);
  EXPECT_GT(merged.total.latency.quantile_ns(0.51), 8'000'000u);
}

TEST(Merge, IntervalsLieWhereTheirHostBegan) {
  const RunResult merged = merge_results({sample("2026-11-20T21:00:01.100Z", 9'000'000),
                                          sample("2026-11-20T21:00:00.000Z", 1'000'000)});
  ASSERT_EQ(merged.intervals.size(), 3u);
  EXPECT_EQ(merged.intervals[0].tally.requests, 1000u);
  EXPECT_EQ(merged.intervals[1].tally.requests, 2000u);
  EXPECT_EQ(merged.intervals[2].tally.requests, 1000u);
}

TEST(Report, IsOnePageThatLoadsNothing) {
  RunResult hostile = sample("2026-11-20T21:00:00.000Z", 1'000'000);
  hostile.first_wrong_answer = "<script>alert(1)</script>";
  const std::string page = report_html({hostile, sample("2026-11-20T21:00:00.000Z", 2'000'000)});
  for (const char* bad : {"<script", "src=", "href=", "@import", "url("})
    EXPECT_EQ(page.find(bad), std::string::npos) << bad;
  for (const char* plot :
       {"Latency by percentile", "Throughput over time", "Latency over time", "CPU over time"})
    EXPECT_NE(page.find(plot), std::string::npos) << plot;
}

TEST(Comparison, RatiosAreToTheFirst) {
  const std::string text = comparison_text({sample("2026-11-20T21:00:00.000Z", 1'000'000),
                                            sample("2026-11-20T21:00:00.000Z", 2'000'000)});
  EXPECT_NE(text.find("x 2.00"), std::string::npos) << text;
}

TEST(FailIf, LooksAtTheFigureOnTheSideAskedFor) {
  const RunResult result = sample("2026-11-20T21:00:00.000Z", 1'000'000);
  for (const auto& [text, expected] : {std::pair<const char*, bool>{"p99>5ms", false},
                                       {"p99>500us", true},
                                       {"p99.9<2ms", true},
                                       {"requests/s<1001", true},
                                       {"events/s<999", false},
                                       {"cpu/request>249us", true},
                                       {"wrong>0", false}}) {
    const auto rule = parse_fail_rule(text);
    ASSERT_TRUE(rule) << text;
    EXPECT_EQ(*violates(result, *rule), expected) << text;
  }
}

TEST(FailIf, WhatWasNotMeasuredIsAnErrorNotAPass) {
  RunResult result = sample("2026-11-20T21:00:00.000Z", 1'000'000);
  result.server.known = false;
  EXPECT_FALSE(violates(result, *parse_fail_rule("cpu/event>1us")));
  EXPECT_FALSE(violates(result, *parse_fail_rule("missing>0")));
}

TEST(FailIf, MistakesAreNamed) {
  for (const char* text : {"", "p99", "p99>", "p99>fast", "p101>1ms", "speed>1", "p99>1h"})
    EXPECT_FALSE(parse_fail_rule(text)) << text;
}

TEST(Verify, OnlyIdsOfThisRunCount) {
  size_t thread = 9;
  uint64_t counter = 9;
  EXPECT_TRUE(
      Verifier::parse_id("0123abcd-0007-4000-8000-000000000042", "0123abcd", &thread, &counter));
  EXPECT_EQ(thread, 7u);
  EXPECT_EQ(counter, 42u);
  EXPECT_TRUE(Verifier::parse_id("x-0000-4000-8000-000000000001", "x", &thread, &counter));
  for (const char* id :
       {"", "order-1", "0123abce-0007-4000-8000-000000000042",
        "0123abcd-0007-4000-8000-00000000004", "0123abcd-0007-4000-8000-00000000004x",
        "0123abcd-00x7-4000-8000-000000000042", "0123abcd-0007-4000-9000-000000000042"})
    EXPECT_FALSE(Verifier::parse_id(id, "0123abcd", &thread, &counter)) << id;
}

TEST(Progress, OneLineSaysHowItGoes) {
  Moment moment;
  moment.passed_seconds = 5;
  moment.total_seconds = 20;
  moment.server_cores = 0.98;
  moment.second.requests = 1'234'567;
  const std::string line = progress_line(moment);
  EXPECT_NE(line.find("[#####..............."), std::string::npos) << line;
  EXPECT_NE(line.find("1,234,567 req/s"), std::string::npos) << line;
  EXPECT_NE(line.find("server 98 %"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace weir::bench
