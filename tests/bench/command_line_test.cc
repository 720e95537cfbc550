#include "bench/load/command_line.h"

#include <gtest/gtest.h>

namespace weir::bench {
namespace {

Result<CommandLine> parse(std::vector<std::string> arguments, bool terminal = false) {
  CLI::App app;
  CommandLine line;
  declare(app, line);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  app.parse(arguments);
  WEIR_RETURN_IF_ERROR(complete(line, terminal));
  return line;
}

TEST(CommandLine, DurationsHaveUnits) {
  int64_t ms = 0;
  for (const auto& [text, expected] : {std::pair<const char*, int64_t>{"30", 30'000},
                                       {"0.5", 500},
                                       {"90s", 90'000},
                                       {"250ms", 250},
                                       {"10m", 600'000},
                                       {"8h", 28'800'000}}) {
    EXPECT_TRUE(parse_duration_ms(text, &ms)) << text;
    EXPECT_EQ(ms, expected) << text;
  }
  for (const char* text : {"", "x", "-1", "5d", "1e300"})
    EXPECT_FALSE(parse_duration_ms(text, &ms)) << text;
}

TEST(CommandLine, SharesArePercentOrFractions) {
  double share = 0;
  EXPECT_TRUE(parse_share("5%", &share));
  EXPECT_DOUBLE_EQ(share, 0.05);
  EXPECT_TRUE(parse_share("0.25", &share));
  EXPECT_DOUBLE_EQ(share, 0.25);
  for (const char* text : {"", "5", "101%", "-1%", "1%%"})
    EXPECT_FALSE(parse_share(text, &share)) << text;
}

TEST(CommandLine, AMixHasBatchesSizesAndWeights) {
  std::vector<MixEntry> mix;
  ASSERT_TRUE(parse_mix({"1:90", "100x16000:2.5"}, "400", &mix));
  ASSERT_EQ(mix.size(), 2u);
  EXPECT_EQ(mix[0].batch, 1u);
  EXPECT_EQ(mix[0].event_bytes, 400u);
  EXPECT_EQ(mix[0].weight, 90);
  EXPECT_EQ(mix[1].batch, 100u);
  EXPECT_EQ(mix[1].event_bytes, 16'000u);
  EXPECT_EQ(mix[1].weight, 2.5);
  for (const char* text : {"", "0", "x", "1x", "1:", "1:0", "1.5", "100y", "1x0"})
    EXPECT_FALSE(parse_mix({text}, "400", &mix)) << text;
}

TEST(CommandLine, ARangeOfSizesIsSpreadFromTheSmallestToTheLargest) {
  std::vector<MixEntry> mix;
  ASSERT_TRUE(parse_mix({"10:4"}, "200-16000", &mix));
  ASSERT_EQ(mix.size(), 8u);
  EXPECT_EQ(mix.front().event_bytes, 200u);
  EXPECT_EQ(mix.back().event_bytes, 16'000u);
  double weight = 0;
  for (const MixEntry& entry : mix) weight += entry.weight;
  EXPECT_DOUBLE_EQ(weight, 4);
}

TEST(CommandLine, MistakesAreNamed) {
  const std::string url = "http://127.0.0.1:1";
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"127.0.0.1:1"},
                                             {url, "--shape", "nobody"},
                                             {url, "--shape", "plausible", "-m", "10"},
                                             {url, "--shape", "pixel", "--gzip"},
                                             {url, "--duplicates", "200%"},
                                             {url, "--compress", "br"},
                                             {url, "-d", "soon"},
                                             {url, "--engine", "kqueue"},
                                             {url, "-H", "no colon"},
                                             {url, "--fail-if", "p99>5 parsecs"}}) {
    const auto line = parse(arguments);
    ASSERT_FALSE(line) << arguments.back();
    EXPECT_FALSE(line.error().message.empty());
  }
}

TEST(CommandLine, ProgressIsForTerminals) {
  const std::string url = "http://127.0.0.1:1";
  using Live = RunSettings::Live;
  EXPECT_EQ(parse({url})->settings.live, Live::kNone);
  EXPECT_EQ(parse({url}, true)->settings.live, Live::kTerminal);
  EXPECT_EQ(parse({url, "--live"})->settings.live, Live::kLines);
  EXPECT_EQ(parse({url, "--no-live"}, true)->settings.live, Live::kNone);
}

TEST(CommandLine, IdsAreFreshUnlessTheRunIsNamed) {
  const auto first = parse({"http://127.0.0.1:1"});
  const auto second = parse({"http://127.0.0.1:1"});
  EXPECT_TRUE(first->load.fresh_ids);
  EXPECT_NE(first->load.run_id, second->load.run_id);
  EXPECT_FALSE(parse({"http://127.0.0.1:1", "--run-id", "again"})->load.fresh_ids);
}

TEST(LoadOptions, ALongRunHasABoundedNumberOfIntervals) {
  LoadOptions options;
  options.duration_ms = 30'000;
  EXPECT_EQ(options.interval_ms(), 1000);
  options.duration_ms = 8 * 3'600'000;
  EXPECT_LE(options.duration_ms / options.interval_ms(), LoadOptions::kMaxIntervals);
}

}  // namespace
}  // namespace weir::bench
