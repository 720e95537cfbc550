#include "collector/admin/top.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::admin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Live busy() {
  Live live;
  live.accepted = 1000;
  live.pending = 40;
  live.accepting = live.ready = true;
  live.accepted_per_second = 12.5;
  live.store.bytes = 3 << 20;
  live.metrics.store_max_bytes = 12 << 20;
  live.metrics.rejected = {{"missing_name", 2}, {"shed_low_disk", 70}};
  for (const char* name : {"idle", "lagging"}) {
    LiveLane& lane = live.lanes.emplace_back();
    lane.name = name;
    lane.status.state = "sending";
  }
  live.lanes[1].pending = 40;
  live.lanes[1].status.last_error = "HTTP 503: \x1b[31mred\nand more";
  return live;
}

size_t longest(const std::string& text) {
  size_t longest = 0;
  size_t length = 0;
  for (const char c : text) {
    const bool continues = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
    length = c == '\n' ? 0 : length + (continues ? 0 : 1);
    longest = std::max(longest, length);
  }
  return longest;
}

TEST(Top, FitsTheScreenWhateverItsSize) {
  const std::pair<size_t, size_t> sizes[] = {{80, 24}, {20, 5}, {1, 1}, {200, 60}};
  for (const auto& [columns, rows] : sizes) {
    const std::string text = top_text(busy(), {}, {}, columns, rows);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), static_cast<int64_t>(rows));
    EXPECT_LE(longest(text), columns);
  }
}

TEST(Top, ShowsRatesLatenciesLagAndDisk) {
  Quantiles commit{10, 0.5, 2, 3.25};
  const std::string text = top_text(busy(), {}, {commit, {}}, 120, 24);
  EXPECT_THAT(text, HasSubstr("in 12.5/s"));
  EXPECT_THAT(text, HasSubstr("commit p50 0.5 p99 3.2 ms"));
  EXPECT_THAT(text, HasSubstr("sync -"));
  EXPECT_THAT(text, HasSubstr("3.0 MiB of 12.0 MiB (25 %)"));
  EXPECT_THAT(text, HasSubstr("shed_low_disk"));
  // What lags most comes first.
  EXPECT_LT(text.find("lagging"), text.find("idle"));
}

TEST(Top, NothingFromADestinationMovesTheCursor) {
  const std::string text = top_text(busy(), {}, {}, 200, 24);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("?[31mred?and more"));
}

TEST(Top, SaysWhyNothingIsAccepted) {
  Live live = busy();
  live.accepting = false;
  live.refusal = "the disk is full";
  EXPECT_THAT(top_text(live, {}, {}, 200, 24), HasSubstr("REFUSING: the disk is full"));
}

}  // namespace
}  // namespace weir::admin
