// What a reload may change is decided by the table: everything else is named and refused.
#include "collector/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

options::Options load(std::vector<std::pair<std::string, std::string>> settings) {
  options::Sources sources;
  for (auto& [path, value] : settings) sources.flags.push_back({"--set", path, value});
  options::LoadResult result = options::load_options(sources);
  EXPECT_TRUE(result.ok());
  return std::move(result.options);
}

TEST(Reload, NothingChangedIsNothing) {
  const ReloadPlan plan = plan_reload(load({}), load({}));
  EXPECT_THAT(plan.changed, IsEmpty());
  EXPECT_THAT(plan.refused, IsEmpty());
}

TEST(Reload, KeysTokensAndLogsMayChange) {
  const ReloadPlan plan =
      plan_reload(load({{"keys.0.key", "a"}}), load({{"keys.0.key", "b"},
                                                     {"keys.1.key", "c"},
                                                     {"log.level", "debug"},
                                                     {"stats.cache_ttl", "5m"}}));
  EXPECT_THAT(plan.changed, UnorderedElementsAre("keys", "log.level", "stats.cache_ttl"));
  EXPECT_THAT(plan.refused, IsEmpty());
}

TEST(Reload, AKeyThatIsTakenOutIsAChange) {
  const ReloadPlan plan =
      plan_reload(load({{"keys.0.key", "a"}, {"keys.1.key", "b"}}), load({{"keys.0.key", "a"}}));
  EXPECT_THAT(plan.changed, ElementsAre("keys"));
}

TEST(Reload, LimitsOfEventsWatermarksAndConsumersMayChange) {
  const ReloadPlan plan =
      plan_reload(load({{"consumers.0.name", "goes"}}), load({{"consumers.0.name", "comes"},
                                                              {"consumers.0.lease_seconds", "60"},
                                                              {"limits.event_bytes", "4KiB"},
                                                              {"limits.event_depth", "10"},
                                                              {"limits.event_memory_bytes", "1MiB"},
                                                              {"limits.retry_after", "9"},
                                                              {"limits.ready_percent", "50"}}));
  EXPECT_THAT(plan.refused, IsEmpty());
  EXPECT_THAT(plan.changed, UnorderedElementsAre("consumers", "limits.event_bytes",
                                                 "limits.event_depth", "limits.event_memory_bytes",
                                                 "limits.retry_after", "limits.ready_percent"));
  std::vector<std::string> consumers;
  for (const auto& change : plan.changes)
    if (change.option.starts_with("consumers")) consumers.push_back(change.option);
  EXPECT_THAT(consumers, UnorderedElementsAre("consumers.comes.name", "consumers.goes.name",
                                              "consumers.comes.lease_seconds"));
}

TEST(Reload, WhatNeedsARestartIsNamed) {
  const ReloadPlan plan =
      plan_reload(load({}), load({{"store.retention", "1d"}, {"limits.body_bytes", "32KiB"}}));
  EXPECT_THAT(plan.refused, ElementsAre("store.retention"));
  EXPECT_THAT(plan.changed, ElementsAre("limits.body_bytes"));
}

TEST(Reload, DestinationsComeGoAndChangeUnderTheirNames) {
  const ReloadPlan plan = plan_reload(load({{"destinations.0.name", "stays"},
                                            {"destinations.0.url", "http://s/"},
                                            {"destinations.1.name", "goes"},
                                            {"destinations.1.url", "http://g/"},
                                            {"destinations.2.name", "moves"},
                                            {"destinations.2.url", "http://m/1"}}),
                                      load({{"destinations.0.name", "moves"},
                                            {"destinations.0.url", "http://m/2"},
                                            {"destinations.1.name", "stays"},
                                            {"destinations.1.url", "http://s/"},
                                            {"destinations.2.name", "comes"},
                                            {"destinations.2.url", "http://c/"}}));
  EXPECT_THAT(plan.refused, IsEmpty());
  EXPECT_THAT(plan.changed, ElementsAre("destinations"));
  EXPECT_THAT(plan.destinations, ElementsAre("moves"));
  std::vector<std::string> shown;
  for (const auto& change : plan.changes)
    shown.push_back(change.option + ": " + change.before + " -> " + change.after);
  EXPECT_THAT(shown,
              UnorderedElementsAre(R"(destinations.comes.name:  -> "comes")",
                                   R"(destinations.comes.url:  -> "http://c/")",
                                   R"(destinations.goes.name: "goes" -> )",
                                   R"(destinations.goes.url: "http://g/" -> )",
                                   R"(destinations.moves.url: "http://m/1" -> "http://m/2")"));
}

TEST(Reload, SecretsAreNotInTheDifference) {
  const ReloadPlan plan =
      plan_reload(load({{"keys.0.key", "hush"}, {"keys.0.name", "shop"}, {"keys.0.tenant", "a"}}),
                  load({{"keys.0.key", "hush"},
                        {"keys.0.name", "shop"},
                        {"keys.0.tenant", "b"},
                        {"keys.1.key", "quiet"}}));
  std::vector<std::string> shown;
  for (const auto& change : plan.changes)
    shown.push_back(change.option + ": " + change.before + " -> " + change.after);
  EXPECT_THAT(shown,
              UnorderedElementsAre(R"(keys.shop.tenant: "a" -> "b")", "keys.1.key:  -> (secret)"));
}

}  // namespace
}  // namespace weir
