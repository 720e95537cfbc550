// The components' own checks name the setting that is at fault.
#include "collector/component_check.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

std::string fault(std::vector<std::pair<std::string, std::string>> settings) {
  options::Sources sources;
  for (auto& [path, value] : settings) sources.flags.push_back({"--set", path, value});
  options::LoadResult result = options::load_options(sources);
  EXPECT_TRUE(result.ok());
  check_components(result.options, result.problems);
  if (result.problems.empty()) return "";
  EXPECT_EQ(result.problems.size(), 1u);
  EXPECT_FALSE(result.problems[0].message.empty());
  return result.problems[0].path;
}

TEST(ComponentCheck, AGoodKeyPasses) {
  EXPECT_EQ(fault({{"keys.0.key", "a"}, {"keys.0.patterns", "{ campaign_id = \"c[0-9]+\" }"}}), "");
}

TEST(ComponentCheck, APatternThatDoesNotCompileIsNamed) {
  EXPECT_EQ(fault({{"keys.0.key", "a"}, {"keys.0.patterns", "{ campaign_id = \"(\" }"}}),
            "keys.0.patterns");
}

TEST(ComponentCheck, AnOriginThatIsNoneIsNamed) {
  EXPECT_EQ(
      fault(
          {{"keys.0.key", "a"}, {"keys.1.key", "b"}, {"keys.1.origins", "https://a.example/path"}}),
      "keys.1.origins");
}

}  // namespace
}  // namespace weir
