// Options that are fine alone and wrong together.
#include "collector/options/relations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::options {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> problems_of(std::vector<std::pair<std::string, std::string>> settings) {
  Sources sources;
  for (auto& [path, value] : settings) sources.flags.push_back({"--set", path, value});
  std::vector<std::string> out;
  for (const Problem& problem : load_options(sources).problems)
    out.push_back(problem_text(problem));
  return out;
}

void expect_one(std::vector<std::pair<std::string, std::string>> settings, const char* text) {
  const auto problems = problems_of(std::move(settings));
  ASSERT_EQ(problems.size(), 1u) << ::testing::PrintToString(problems);
  EXPECT_THAT(problems[0], HasSubstr(text));
}

TEST(Relations, AnEventMayBeAQuarterOfASegmentAndNoMore) {
  const std::pair<std::string, std::string> segment = {"store.segment_bytes", "4MiB"};
  EXPECT_EQ(problems_of({segment, {"limits.event_bytes", "64KiB"}}).size(), 0u);
  expect_one({{"store.segment_bytes", "512KiB"}, {"limits.event_bytes", "129KiB"}},
             "more than a quarter of store.segment_bytes (128KiB)");
}

TEST(Relations, ADefaultCommitShrinksWithTheSegmentAnExplicitOneIsRefused) {
  Sources sources;
  sources.flags = {{"--set", "store.segment_bytes", "1MiB"},
                   {"--set", "limits.event_bytes", "10KiB"}};
  const LoadResult result = load_options(sources);
  ASSERT_TRUE(result.ok());
  EXPECT_LE(result.options.store.commit_max_bytes, 256u << 10);
  expect_one({{"store.segment_bytes", "1MiB"},
              {"limits.event_bytes", "10KiB"},
              {"store.commit_max_bytes", "512KiB"}},
             "store.commit_max_bytes");
}

TEST(Relations, AnAdminListenerOffLoopbackNeedsTokens) {
  expect_one({{"server.admin", "0.0.0.0:9090"}}, "anybody could administer");
  const std::string hash(64, 'a');
  EXPECT_EQ(
      problems_of(
          {{"server.admin", "0.0.0.0:9090"}, {"tokens.0.name", "ops"}, {"tokens.0.hash", hash}})
          .size(),
      0u);
}

TEST(Relations, AddressesMustParseAndDiffer) {
  expect_one({{"server.listen", "example.com:80"}}, "is not an address");
  expect_one({{"server.listen", "127.0.0.1:9090"}}, "same address");
}

TEST(Relations, LaneNamesAreUniqueAcrossDestinationsAndConsumers) {
  expect_one({{"destinations.0.name", "a"},
              {"destinations.0.url", "http://x/"},
              {"consumers.0.name", "a"}},
             "used twice");
  expect_one({{"consumers.0.name", "a b"}}, "is not a name");
}

TEST(Relations, EachTypeNamesWhatItCannotBeWithout) {
  const auto with = [](const char* type, const char* option, const char* value) {
    return std::vector<std::pair<std::string, std::string>>{
        {"destinations.0.name", "a"}, {"destinations.0.type", type}, {option, value}};
  };
  const std::vector<std::pair<std::string, std::string>> bare = {{"destinations.0.name", "a"}};
  expect_one(bare, "destinations.0.url: is missing; type \"http\" needs it");
  expect_one(with("file", "destinations.0.batch.linger", "1s"),
             "destinations.0.path: is missing; type \"file\" needs it; write for example path");
  expect_one(with("http", "destinations.0.url", "ftp://x/"),
             "does not begin with http:// or https://");
  expect_one(with("kafka", "destinations.0.url", "a:9092"), "write for example kafka://");
  expect_one(with("redis", "destinations.0.url", "http://x/"), "redis:// or unix://");
  expect_one(with("postgresql", "destinations.0.url", "mysql://x/"), "postgresql://");
  expect_one(with("clickhouse", "destinations.0.url", "tcp://x/"), "http://");
  expect_one(with("carrier-pigeon", "destinations.0.url", "http://x/"), "must be one of: http");
  EXPECT_TRUE(problems_of(with("stdout", "destinations.0.batch.linger", "1s")).empty());
  EXPECT_TRUE(problems_of(with("file", "destinations.0.path", "/tmp/x")).empty());
}

TEST(Relations, ASettingItsTypeDoesNotKnowIsRefused) {
  expect_one({{"destinations.0.name", "a"},
              {"destinations.0.type", "stdout"},
              {"destinations.0.topic", "t"}},
             "destinations.0.topic: type \"stdout\" does not know it; it is for type kafka");
  expect_one({{"destinations.0.name", "a"},
              {"destinations.0.type", "redis"},
              {"destinations.0.url", "redis://h"},
              {"destinations.0.compression", "zstd"}},
             "it is for type http or clickhouse or kafka");
}

TEST(Relations, APasswordDoesNotStandInAUrl) {
  expect_one({{"destinations.0.name", "a"},
              {"destinations.0.type", "postgresql"},
              {"destinations.0.url", "postgresql://me:secret@db/x"}},
             "put it into password");
  EXPECT_TRUE(problems_of({{"destinations.0.name", "a"},
                           {"destinations.0.type", "postgresql"},
                           {"destinations.0.url", "postgresql://me@db/x?application_name=a:b@c"}})
                  .empty());
}

TEST(Relations, KeysDiffer) {
  expect_one({{"keys.0.key", "a"}, {"keys.1.key", "a"}}, "used by an earlier entry");
  expect_one({{"keys.0.key", "a"}, {"keys.0.ack", "maybe"}}, "is no level");
}

TEST(Relations, ATokenHashIsASha256) {
  expect_one({{"tokens.0.name", "a"}, {"tokens.0.hash", "secret"}}, "64 hex digits");
}

TEST(Relations, AHeaderCannotSmuggleALine) {
  expect_one({{"destinations.0.name", "a"},
              {"destinations.0.url", "http://x/"},
              {"destinations.0.headers", "{ A = \"b\\r\\nC: d\" }"}},
             "is not a header");
}

}  // namespace
}  // namespace weir::options
