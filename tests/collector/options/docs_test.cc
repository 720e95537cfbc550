// The generated pages in docs/ are what the tables say now.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "collector/metric_docs.h"
#include "collector/options/print.h"

namespace weir {
namespace {

std::string read_source_file(const std::string& path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

#ifndef WEIR_TINY_LIMITS  // the page shows the real defaults
TEST(Docs, ConfigurationPageIsCurrent) {
  EXPECT_EQ(read_source_file("docs/configuration.md"), options::configuration_docs())
      << "run: build/dev/weir config print --markdown > docs/configuration.md";
}
#endif

TEST(Docs, MetricsPageIsCurrent) {
  EXPECT_EQ(read_source_file("docs/metrics.md"), metric_docs())
      << "run: build/dev/weir config metrics --markdown > docs/metrics.md";
}

}  // namespace
}  // namespace weir
