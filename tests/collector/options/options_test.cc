// Loading: precedence, where values land, and errors with file, line and hint.
#include "collector/options/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace weir::options {
namespace {

using ::testing::HasSubstr;

class OptionsTest : public ::testing::Test {
 protected:
  OptionsTest() {
    char name[] = "/tmp/weir-options-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~OptionsTest() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& text) const {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  LoadResult load_text(const std::string& text) {
    sources_.file = write("weir.toml", text);
    return load_options(sources_);
  }
  // The only problem's text.
  static std::string only_problem(const LoadResult& result) {
    EXPECT_EQ(result.problems.size(), 1u);
    return result.problems.empty() ? "" : problem_text(result.problems[0]);
  }

  std::string directory_;
  Sources sources_;
};

TEST_F(OptionsTest, DefaultsAloneAreValidAndOpen) {
  const LoadResult result = load_options({});
  ASSERT_TRUE(result.ok()) << problem_text(result.problems[0]);
  EXPECT_EQ(result.options.server.listen, "127.0.0.1:8080");
  EXPECT_EQ(result.options.server.admin, "127.0.0.1:9090");
  EXPECT_EQ(result.options.store.directory, "./weir-data");
  EXPECT_FALSE(result.options.server.node.empty());
  EXPECT_GE(result.options.server.shards, 1u);
  EXPECT_TRUE(result.options.open_ingest());
  EXPECT_TRUE(result.options.open_admin());
  EXPECT_TRUE(result.options.forwarder.destinations.empty());
}

TEST_F(OptionsTest, TheTableAgreesWithTheEventLimits) {
  const event::Limits expected;
  const event::Limits loaded = load_options({}).options.events;
  EXPECT_EQ(loaded.event_bytes, expected.event_bytes);
  EXPECT_EQ(loaded.events, expected.events);
  EXPECT_EQ(loaded.envelope_bytes, expected.envelope_bytes);
  EXPECT_EQ(loaded.encoded_bytes, expected.encoded_bytes);
  EXPECT_EQ(loaded.depth, expected.depth);
}

#if !defined(WEIR_TINY_LIMITS)
// The structs have defaults of their own, for tests of the components; the two must agree.
TEST_F(OptionsTest, TheTableAgreesWithTheComponentsOwnDefaults) {
  const LoadResult result = load_text("[[destinations]]\nname = \"a\"\nurl = \"http://a/\"\n");
  ASSERT_TRUE(result.ok());
  const storage::StoreOptions store;
  EXPECT_EQ(result.options.store.segment_bytes, store.segment_bytes);
  EXPECT_EQ(result.options.store.retention_ms, store.retention_ms);
  EXPECT_EQ(result.options.store.commit_max_bytes, store.commit_max_bytes);
  EXPECT_EQ(result.options.store.dedupe_max_entries, store.dedupe_max_entries);
  EXPECT_EQ(result.options.store.dedupe_window_ms, store.dedupe_window_ms);
  const http::Limits limits;
  EXPECT_EQ(result.options.limits.body_bytes, limits.body_bytes);
  EXPECT_EQ(result.options.limits.idle_ms, limits.idle_ms);
  const forwarder::DestinationOptions destination;
  const auto& loaded = result.options.forwarder.destinations[0];
  EXPECT_EQ(loaded.batch.max_bytes, destination.batch.max_bytes);
  EXPECT_EQ(loaded.retry.window_ms, destination.retry.window_ms);
  EXPECT_EQ(loaded.concurrency, destination.concurrency);
  EXPECT_EQ(loaded.stall_timeout_ms, destination.stall_timeout_ms);
  EXPECT_EQ(result.options.forwarder.max_memory_bytes,
            forwarder::ForwarderOptions().max_memory_bytes);
}
#endif

TEST_F(OptionsTest, FlagsBeatTheEnvironmentBeatsTheFile) {
  const std::string text =
      "[store]\nmax_bytes = \"1GB\"\nretention = \"1d\"\nsegment_age = \"1m\"\n";
  sources_.environment = {{"WEIR_STORE__MAX_BYTES", "2GB"},
                          {"WEIR_STORE__RETENTION", "2d"},
                          {"WEIR_TOKEN", "for the commands"},
                          {"PATH", "/bin"}};
  sources_.flags = {{"--set store.max_bytes", "store.max_bytes", "3GB"}};
  const LoadResult result = load_text(text);
  ASSERT_TRUE(result.ok()) << problem_text(result.problems[0]);
  EXPECT_EQ(result.options.store.max_bytes, 3'000'000'000u);
  EXPECT_EQ(result.options.store.retention_ms, 2 * 86'400'000);
  EXPECT_EQ(result.options.store.segment_age_ms, 60'000);
}

TEST_F(OptionsTest, EveryArrayLandsInItsStruct) {
  const LoadResult result = load_text(R"(
[[keys]]
key = "k1"
tenant = "acme"
origins = ["https://a.example", "https://b.example"]
require = ["campaign_id"]
patterns = { campaign_id = "c_[0-9]+" }
allow = { variant = ["a", "b"] }
ack = ["committed", "received"]
sandbox = true
content_hash = "raw"
[[destinations]]
name = "saas"
url = "https://saas.example/batch"
format = "ndjson"
compression = "zstd"
headers = { X-Team = "edge" }
authorization = "Bearer s3cret"
batch = { max_events = 7, linger = "1s" }
retry.cap = "10m"
filter.tenants = ["acme"]
backlog_policy = "drop_oldest"
max_backlog_bytes = "1GiB"
[[consumers]]
name = "central"
from = "latest"
[[tokens]]
name = "ops"
hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
role = "metrics"
)");
  ASSERT_TRUE(result.ok()) << problem_text(result.problems[0]);
  const Options& options = result.options;
  ASSERT_EQ(options.keys.size(), 1u);
  EXPECT_EQ(options.keys[0].tenant, "acme");
  EXPECT_EQ(options.keys[0].origins.size(), 2u);
  EXPECT_EQ(options.keys[0].patterns[0].second, "c_[0-9]+");
  EXPECT_EQ(options.keys[0].allow[0].second, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(options.keys[0].sandbox);
  const auto& destination = options.forwarder.destinations.at(0);
  EXPECT_EQ(destination.format, forwarder::BodyFormat::kNdjson);
  EXPECT_EQ(destination.compression, forwarder::Compression::kZstd);
  ASSERT_EQ(destination.headers.size(), 2u);
  EXPECT_EQ(destination.headers[0].second, "Bearer s3cret");
  EXPECT_EQ(destination.batch.max_events, 7u);
  EXPECT_EQ(destination.batch.linger_ms, 1000);
  EXPECT_EQ(destination.retry.cap_ms, 600'000);
  ASSERT_EQ(options.store.lanes.size(), 2u);
  EXPECT_EQ(options.store.lanes[0].name, "saas");
  EXPECT_EQ(options.store.lanes[0].policy, storage::BacklogPolicy::kDropOldest);
  EXPECT_EQ(options.store.lanes[0].max_backlog_bytes, uint64_t{1} << 30);
  EXPECT_EQ(options.store.lanes[1].kind, storage::LaneKind::kConsumer);
  EXPECT_TRUE(options.store.lanes[1].from_latest);
  EXPECT_EQ(options.tokens.at(0).role, "metrics");
}

TEST_F(OptionsTest, EntriesCanComeFromTheEnvironmentAndFlagsAlone) {
  sources_.environment = {{"WEIR_DESTINATIONS__0__URL", "http://a/"},
                          {"WEIR_DESTINATIONS__0__NAME", "a"},
                          {"WEIR_DESTINATIONS__0__BATCH__MAX_EVENTS", "5"}};
  sources_.flags = {{"--set keys.0.key", "keys.0.key", "k"},
                    {"--set keys.0.origins", "keys.0.origins", "[\"https://a\"]"}};
  sources_.forward_url = "http://b/";
  const LoadResult result = load_options(sources_);
  ASSERT_TRUE(result.ok()) << problem_text(result.problems[0]);
  ASSERT_EQ(result.options.forwarder.destinations.size(), 2u);
  EXPECT_EQ(result.options.forwarder.destinations[0].batch.max_events, 5u);
  EXPECT_EQ(result.options.forwarder.destinations[1].name, "forward");
  EXPECT_EQ(result.options.keys.at(0).origins.at(0), "https://a");
}

TEST_F(OptionsTest, AnUnknownOptionIsAnErrorWithLineAndHint) {
  const std::string text = only_problem(load_text("[store]\n\nmax_byte = 5\n"));
  EXPECT_THAT(text,
              HasSubstr("weir.toml:3: store.max_byte: unknown option; did you mean max_bytes?"));
}

TEST_F(OptionsTest, AnOptionOfAnotherSectionIsPointedThere) {
  EXPECT_THAT(only_problem(load_text("[server]\nmax_entries = 5\n")),
              HasSubstr("there is one in section dedupe"));
  EXPECT_THAT(only_problem(load_text("retention = \"1d\"\n")), HasSubstr("below [store]"));
}

TEST_F(OptionsTest, AnUnknownSectionIsAnErrorWithHint) {
  EXPECT_THAT(only_problem(load_text("\n[destinatons]\n")),
              HasSubstr("did you mean destinations?"));
  EXPECT_THAT(only_problem(load_text("[keys]\nkey = \"a\"\n")), HasSubstr("write [[keys]]"));
}

TEST_F(OptionsTest, AWrongTypeSaysWhatWasExpected) {
  EXPECT_THAT(only_problem(load_text("[store]\nretention = 5\n")), HasSubstr("with its unit"));
  EXPECT_THAT(only_problem(load_text("[server]\npin = \"yes\"\n")), HasSubstr("true or false"));
  EXPECT_THAT(only_problem(load_text("[server]\nshards = 1.5\n")), HasSubstr("whole number"));
}

TEST_F(OptionsTest, LimitsAndChoicesAreChecked) {
  EXPECT_THAT(only_problem(load_text("[server]\nshards = 1000\n")),
              HasSubstr("weir.toml:2: server.shards: must be at least 0 and at most 256"));
  EXPECT_THAT(only_problem(load_text("[log]\nlevel = \"loud\"\n")),
              HasSubstr("debug, info, warn, error"));
}

TEST_F(OptionsTest, AllProblemsAreReportedAtOnceInTheOrderOfTheFile) {
  const LoadResult result = load_text("[server]\nshards = \"x\"\n[log]\nlevle = 1\nformat = 3\n");
  ASSERT_EQ(result.problems.size(), 3u);
  EXPECT_EQ(result.problems[0].origin.line, 2u);
  EXPECT_EQ(result.problems[1].origin.line, 4u);
  EXPECT_EQ(result.problems[2].origin.line, 5u);
}

TEST_F(OptionsTest, ASyntaxErrorNamesItsLine) {
  EXPECT_THAT(only_problem(load_text("[store]\nretention = 5d\n")), HasSubstr("weir.toml:2:"));
}

TEST_F(OptionsTest, AMissingFileSaysSo) {
  sources_.file = directory_ + "/none.toml";
  EXPECT_THAT(only_problem(load_options(sources_)), HasSubstr("No such file"));
  sources_.file = directory_;
  EXPECT_THAT(only_problem(load_options(sources_)), HasSubstr("Is a directory"));
}

TEST_F(OptionsTest, AMissingRequiredOptionNamesItsEntry) {
  const LoadResult result = load_text("[[destinations]]\nname = \"a\"\n");
  EXPECT_THAT(only_problem(result), HasSubstr("weir.toml:1: destinations.0.url: is missing"));
}

TEST_F(OptionsTest, ASecretComesFromItsFile) {
  const std::string secret = write("secret", "hunter2\n");
  const LoadResult result = load_text("[[keys]]\nkey_file = \"" + secret + "\"\n");
  ASSERT_TRUE(result.ok()) << problem_text(result.problems[0]);
  EXPECT_EQ(result.options.keys.at(0).key, "hunter2");
  EXPECT_THAT(only_problem(load_text("[[keys]]\nkey=\"a\"\ntenant_file = \"x\"\n")),
              HasSubstr("unknown option"));
  const LoadResult missing = load_text("[[keys]]\nkey_file = \"/does/not/exist\"\n");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(problem_text(missing.problems[1]), HasSubstr("cannot read /does/not/exist"));
}

TEST_F(OptionsTest, AMisspeltEnvironmentVariableIsAnError) {
  sources_.environment = {{"WEIR_STORE__MAX_BYTE", "5"}};
  EXPECT_THAT(only_problem(load_options(sources_)),
              HasSubstr("environment WEIR_STORE__MAX_BYTE: store.max_byte: unknown option; did "
                        "you mean max_bytes?"));
}

TEST(Address, LiteralsLocalhostAndBrackets) {
  EXPECT_EQ(parse_address("127.0.0.1:80")->port, 80);
  EXPECT_TRUE(parse_address("localhost:80")->loopback);
  EXPECT_TRUE(parse_address("[::1]:0")->loopback);
  EXPECT_FALSE(parse_address("0.0.0.0:80")->loopback);
  EXPECT_FALSE(parse_address("[::]:80")->loopback);
  for (const char* bad : {"", ":80", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "::1:80",
                          "example.com:80", "127.0.0.1:80x"})
    EXPECT_FALSE(parse_address(bad).has_value()) << bad;
}

}  // namespace
}  // namespace weir::options
