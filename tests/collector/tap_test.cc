// The taps: what passes a filter is copied, bounded in number and rate, and nothing waits for it.
#include "collector/tap.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

class TapTest : public ::testing::Test {
 protected:
  void watch(std::vector<TapFilter> filters) {
    auto watch = std::make_shared<TapWatch>();
    watch->filters = std::move(filters);
    watch->queue = &queue_;
    tap_.watch(watch);
  }
  void offer(std::string_view outcome, std::string_view tenant, std::string_view name,
             int64_t now_ms = 1'000) {
    EventFields fields;
    fields.tenant = tenant;
    fields.name = name;
    fields.source = "native";
    fields.raw = R"({"name":"n"})";
    tap_.offer(now_ms, outcome, "", fields, {});
  }
  std::vector<std::string> taken() {
    std::vector<std::string> names;
    queue_.take([&](const TapEvent& event) { names.push_back(event.name); });
    return names;
  }
  uint64_t dropped() {
    for (const auto& series : metrics_.collect())
      if (series.metric == Metric::kTailDropped) return static_cast<uint64_t>(series.value);
    return 0;
  }

  Wakeup wakeup_;
  MetricRegistry metrics_;
  TapQueue queue_{wakeup_};
  Tap tap_{metrics_};
};

TEST_F(TapTest, IsOffUntilSomebodyWatches) {
  EXPECT_FALSE(tap_.on());
  watch({{}});
  EXPECT_TRUE(tap_.on());
  tap_.watch(nullptr);
  EXPECT_FALSE(tap_.on());
}

TEST_F(TapTest, OffersWhatAnyFilterWants) {
  watch({{"acme", "", "", ""}, {"", "bought", "", "rejected"}});
  offer("stored", "acme", "a");
  offer("stored", "other", "b");
  offer("rejected", "other", "bought");
  offer("stored", "other", "bought");
  EXPECT_EQ(taken(), (std::vector<std::string>{"a", "bought"}));
  EXPECT_TRUE(wakeup_.wait(0));
}

TEST_F(TapTest, WhatIsTooMuchIsDroppedAndCounted) {
  watch({{}});
  for (size_t i = 0; i < TapQueue::kMaxWaiting + 100; ++i)
    offer("stored", "t", "n", static_cast<int64_t>(i) * 10);  // 100 a second
  EXPECT_EQ(taken().size(), TapQueue::kMaxWaiting);
  EXPECT_EQ(dropped(), 100u);
  offer("stored", "t", "n", 1'000'000);
  EXPECT_EQ(taken().size(), 1u);
}

TEST_F(TapTest, ARateIsKept) {
  watch({{}});
  size_t seen = 0;
  for (uint64_t i = 0; i < 3 * TapQueue::kMaxPerSecond; ++i) {
    offer("stored", "t", "n", 5'000);
    seen += taken().size();
  }
  EXPECT_EQ(seen, TapQueue::kMaxPerSecond);
  offer("stored", "t", "n", 6'000);
  EXPECT_EQ(taken().size(), 1u);
}

TEST_F(TapTest, ALargeEventIsShownWithoutItsObject) {
  watch({{}});
  const std::string raw(TapQueue::kMaxRaw + 1, ' ');
  EventFields fields;
  fields.raw = raw;
  tap_.offer(1, "stored", "", fields, {});
  queue_.take([&](const TapEvent& event) {
    EXPECT_TRUE(event.raw.empty());
    EXPECT_EQ(event.raw_bytes, raw.size());
  });
}

}  // namespace
}  // namespace weir
