#include "storage/base/log.h"

#include <gtest/gtest.h>

namespace weir::log {
namespace {

TEST(Log, LogfmtQuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(
      render(
          Format::kLogfmt, Level::kWarn, 0, "started",
          {{"port", 8080}, {"name", "plain"}, {"text", "two words"}, {"empty", ""}, {"ok", true}}),
      "ts=1970-01-01T00:00:00.000Z level=warn event=started port=8080 name=plain "
      "text=\"two words\" empty=\"\" ok=true");
}

TEST(Log, HostileTextCannotForgeALineOrMoveTheCursor) {
  EXPECT_EQ(render(Format::kLogfmt, Level::kInfo, 0, "x", {{"key", "a\nlevel=error \x1b[2J"}}),
            "ts=1970-01-01T00:00:00.000Z level=info event=x key=\"a\\nlevel=error \\u001b[2J\"");
}

TEST(Log, JsonKeepsNumbersAndBooleansUnquoted) {
  EXPECT_EQ(
      render(Format::kJson, Level::kInfo, 0, "x", {{"n", 5}, {"b", false}, {"s", "5"}}),
      R"({"ts":"1970-01-01T00:00:00.000Z","level":"info","event":"x","n":5,"b":false,"s":"5"})");
}

}  // namespace
}  // namespace weir::log
