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

TEST(Reload, WhatNeedsARestartIsNamed) {
  const ReloadPlan plan =
      plan_reload(load({{"destinations.0.name", "a"}, {"destinations.0.url", "http://a/"}}),
                  load({{"destinations.0.name", "a"},
                        {"destinations.0.url", "http://b/"},
                        {"store.retention", "1d"}}));
  EXPECT_THAT(plan.refused, UnorderedElementsAre("destinations.0.url", "store.retention"));
}

}  // namespace
}  // namespace weir
