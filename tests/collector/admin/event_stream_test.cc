// One topic of server-sent events: what its subscribers get, and that none can hold up or fill the
// server.
#include "collector/admin/event_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/collector/admin/fakes.h"
#include "tests/collector/http/fixture.h"

namespace weir::admin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct OnlyOdd : EventStream::Interest {};

class EventStreamTest : public ::testing::Test {
 protected:
  ~EventStreamTest() override { stream_.close(); }

  double frames(const std::string& outcome) {
    for (const auto& series : metrics_.collect())
      if (series.metric == Metric::kStreamFrames && series.label_values[1] == outcome)
        return series.value;
    return -1;
  }

  static EventStream::Limits limits() {
    EventStream::Limits limits;
    limits.subscribers = 3;
    limits.backlog_bytes = 100;
    return limits;
  }

  MetricRegistry metrics_;
  http::test::FakeLoop loop_;
  EventStream stream_{"test", limits(), loop_, metrics_};
  FakeExchange one_, two_, three_, four_;
};

TEST_F(EventStreamTest, AFrameHasAnIdATypeAndItsData) {
  ASSERT_TRUE(stream_.subscribe(one_));
  EXPECT_EQ(one_.content_type, "text/event-stream");
  EXPECT_THAT(one_.headers, HasSubstr("Cache-Control: no-store"));
  stream_.publish({"tick", "{}"});
  EXPECT_EQ(one_.body, "retry: 2000\n\nid: 1\nevent: tick\ndata: {}\n\n");
}

TEST_F(EventStreamTest, LineBreaksInTheDataCannotBeginAFieldOfTheirOwn) {
  ASSERT_TRUE(stream_.subscribe(one_));
  stream_.publish({"tick", "a\nevent: b\r\nid: 9\rretry: 1\n"});
  EXPECT_THAT(one_.body,
              HasSubstr("data: a\ndata: event: b\ndata: id: 9\ndata: retry: 1\ndata: \n\n"));
  EXPECT_THAT(one_.body, Not(HasSubstr("\r")));
}

TEST_F(EventStreamTest, EverySubscriberGetsWhatItWants) {
  ASSERT_TRUE(stream_.subscribe(one_));
  ASSERT_TRUE(stream_.subscribe(two_, std::make_unique<OnlyOdd>()));
  for (int i = 1; i <= 2; ++i)
    stream_.publish({"n", std::to_string(i)},
                    [&](const EventStream::Interest* odd) { return odd == nullptr || i % 2 == 1; });
  EXPECT_THAT(one_.body, HasSubstr("data: 2"));
  EXPECT_THAT(two_.body, HasSubstr("data: 1"));
  EXPECT_THAT(two_.body, Not(HasSubstr("data: 2")));
}

TEST_F(EventStreamTest, ASlowReaderMissesFramesIsToldSoAndHoldsUpNobody) {
  ASSERT_TRUE(stream_.subscribe(one_));
  ASSERT_TRUE(stream_.subscribe(two_));
  one_.reads = false;
  const std::string data(60, 'x');
  for (int i = 0; i < 1000; ++i) stream_.publish({"big", data});
  EXPECT_LE(one_.backlog, 100u) << "bounded, however much is published";
  EXPECT_EQ(frames("skipped"), 999);
  EXPECT_THAT(two_.body, HasSubstr("id: 1000\n"));
  EXPECT_FALSE(one_.finished);
  one_.reads = true;
  one_.backlog = 0;
  stream_.publish({"big", data});
  EXPECT_THAT(one_.body, HasSubstr("event: skipped\ndata: {\"frames\":999}\n\nid: 1001\n"));
}

TEST_F(EventStreamTest, WhoHasReadEverythingGetsAFrameOfAnySize) {
  ASSERT_TRUE(stream_.subscribe(one_));
  const std::string data(5'000, 'x');
  stream_.publish({"huge", data});
  EXPECT_THAT(one_.body, HasSubstr(data));
}

TEST_F(EventStreamTest, TooManySubscribersAreRefusedUntilOneLeaves) {
  ASSERT_TRUE(stream_.subscribe(one_));
  ASSERT_TRUE(stream_.subscribe(two_));
  ASSERT_TRUE(stream_.subscribe(three_));
  EXPECT_FALSE(stream_.subscribe(four_));
  EXPECT_EQ(four_.answers, 0) << "still to be answered";
  two_.gone = true;
  stream_.publish({"tick", ""});
  EXPECT_TRUE(two_.finished);
  EXPECT_EQ(stream_.subscribers(), 2u);
  EXPECT_TRUE(stream_.subscribe(four_));
}

TEST_F(EventStreamTest, AHeartbeatShowsLifeAndFindsWhoLeft) {
  ASSERT_TRUE(stream_.subscribe(one_));
  ASSERT_TRUE(stream_.subscribe(two_));
  two_.gone = true;
  loop_.advance_ms(15'000);
  EXPECT_THAT(one_.body, ::testing::EndsWith("\n\n:\n\n"));
  EXPECT_EQ(stream_.subscribers(), 1u);
  one_.gone = true;
  loop_.advance_ms(15'000);
  EXPECT_TRUE(stream_.idle());
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

TEST_F(EventStreamTest, ClosedItEndsEveryStreamAndTakesNobody) {
  ASSERT_TRUE(stream_.subscribe(one_));
  stream_.close();
  EXPECT_TRUE(one_.finished);
  EXPECT_FALSE(stream_.subscribe(two_));
  EXPECT_EQ(loop_.armed_timers(), 0u);
}

}  // namespace
}  // namespace weir::admin
