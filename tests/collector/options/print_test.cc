// config print: complete, valid TOML that loads to the same values; secrets stay hidden.
#include "collector/options/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "collector/options/table.h"

namespace weir::options {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Sources example() {
  Sources sources;
  sources.flags = {{"--set", "keys.0.key", "s3cret"},
                   {"--set", "keys.0.allow", "{ variant = [\"a\", \"b\"] }"},
                   {"--set", "keys.0.patterns", "{ campaign_id = \"c_\\\\d+\" }"},
                   {"--set", "destinations.0.name", "a"},
                   {"--set", "destinations.0.url", "http://x/"},
                   {"--set", "destinations.0.headers", "X-A=b"},
                   {"--set", "destinations.0.batch.linger", "1500ms"},
                   {"--set", "store.max_bytes", "1234567890"},
                   {"--set", "log.format", "json"}};
  return sources;
}

TEST(ConfigPrint, LoadsBackToTheSameValues) {
  const LoadResult first = load_options(example());
  ASSERT_TRUE(first.ok()) << problem_text(first.problems[0]);
  char directory[] = "/tmp/weir-print-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  Sources sources;
  sources.file = std::string(directory) + "/weir.toml";
  std::ofstream(sources.file) << print_toml(first.options, true);
  const LoadResult second = load_options(sources);
  std::filesystem::remove_all(directory);
  ASSERT_TRUE(second.ok()) << problem_text(second.problems[0]);
  ASSERT_EQ(second.options.settings.size(), first.options.settings.size());
  for (size_t i = 0; i < first.options.settings.size(); ++i)
    EXPECT_EQ(second.options.settings[i].value, first.options.settings[i].value)
        << first.options.settings[i].path();
}

TEST(ConfigPrint, NamesEveryOption) {
  const std::string text = print_toml(load_options(example()).options, false);
  for (const OptionRow& row : option_table())
    EXPECT_THAT(text, HasSubstr(std::string(row.name) + " = ")) << row.section;
}

TEST(ConfigPrint, HidesWhoLogsInAtAUrlAndDoesNotOfferItToBeReadBack) {
  Sources sources;
  sources.flags = {{"--set", "destinations.0.name", "a"},
                   {"--set", "destinations.0.url", "http://me:s3cret@x/in"}};
  const Options options = load_options(sources).options;
  EXPECT_THAT(print_toml(options, false), HasSubstr("# url = \"http://(secret)@x/in\""));
  EXPECT_THAT(print_json(options), HasSubstr("http://(secret)@x/in"));
  EXPECT_THAT(print_json(options), Not(HasSubstr("s3cret")));
  EXPECT_THAT(print_toml(options, true), HasSubstr("\nurl = \"http://me:s3cret@x/in\""));
}

TEST(ConfigPrint, HidesSecrets) {
  const Options options = load_options(example()).options;
  EXPECT_THAT(print_toml(options, false), Not(HasSubstr("s3cret")));
  EXPECT_THAT(print_json(options), Not(HasSubstr("s3cret")));
  EXPECT_THAT(print_toml(options, true), HasSubstr("s3cret"));
}

}  // namespace
}  // namespace weir::options
