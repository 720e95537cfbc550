// What the pipeline gives up under pressure, and what each protocol is told; rates of keys.
#include <gmock/gmock.h>

#include "collector/pipeline.h"
#include "tests/collector/pipeline_fixture.h"

namespace weir {
namespace {

using storage::PressureCause;
using storage::PressureLevel;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kGet = http::Method::kGet;

class PressureTest : public PipelineTest {
 protected:
  void press(PressureLevel level, PressureCause cause = PressureCause::kDisk) {
    store_->set_pressure({level, cause});
    next_turn();
  }
  void next_turn() {
    clock_.advance_ms(1);
    loop_->turn();
  }
  static std::string events(const std::vector<std::string>& priorities) {
    std::string body = "[";
    for (size_t i = 0; i < priorities.size(); ++i)
      body += (i == 0 ? "" : ",") + std::string(R"({"id":"e)") + std::to_string(i) +
              R"(","name":"n","priority":")" + priorities[i] + "\"}";
    return body + "]";
  }
};

TEST_F(PressureTest, LowGoesFirstThenNormalAndHighStays) {
  const std::string body = events({"low", "normal", "high"});
  EXPECT_EQ(post_and_commit("/v1/events", body).body,
            R"({"accepted":3,"duplicates":0,"rejected":0,"results":[]})");
  press(PressureLevel::kNotReady);
  EXPECT_THAT(post_and_commit("/v1/events", body).body, HasSubstr(R"("rejected":0)"));
  press(PressureLevel::kShedLow);
  EXPECT_THAT(
      post_and_commit("/v1/events", body).body,
      AllOf(HasSubstr(R"("rejected":1)"), HasSubstr(R"({"index":0,"id":"e0","status":"rejected",)"),
            HasSubstr(R"("reason":"shed_low_disk")")));
  press(PressureLevel::kShedNormal, PressureCause::kLag);
  EXPECT_THAT(post_and_commit("/v1/events", body).body,
              AllOf(HasSubstr(R"("rejected":2)"), HasSubstr("shed_low_lag"),
                    HasSubstr("shed_normal_lag"), HasSubstr(R"("duplicates":1)")));
  EXPECT_EQ(count(Metric::kEventsShed, {"low", "disk"}), 1u);
  EXPECT_EQ(count(Metric::kEventsShed, {"low", "lag"}), 1u);
  EXPECT_EQ(count(Metric::kEventsShed, {"normal", "lag"}), 1u);
  EXPECT_EQ(count(Metric::kEvents, {"native", "rejected", "shed_low_disk"}), 1u);
  press(PressureLevel::kNone);
  EXPECT_THAT(post_and_commit("/v1/events", body).body, HasSubstr(R"("duplicates":3)"));
}

TEST_F(PressureTest, ARequestOfWhichEverythingIsShedIs503) {
  press(PressureLevel::kShedLow);
  const Answer answer = post_and_commit("/v1/events", events({"low", "low"}));
  EXPECT_EQ(answer.status, 503);
  EXPECT_GT(answer.retry_after, 0);
  EXPECT_THAT(answer.body, HasSubstr(R"("code":"shed_low_disk")"));
  EXPECT_TRUE(store_->events.empty());
  EXPECT_EQ(count(Metric::kPipelineErrors, {"shed_low_disk"}), 1u);
}

TEST_F(PressureTest, AProtocolWithoutOutcomesPerEventIsAskedToSendAllAgain) {
  press(PressureLevel::kShedLow);
  const std::string batch =
      R"({"batch":[{"type":"track","event":"a","messageId":"m1","userId":"u","priority":"low"},)"
      R"({"type":"track","event":"b","messageId":"m2","userId":"u","priority":"high"}]})";
  const Answer refused = post_and_commit("/v1/batch", batch);
  EXPECT_EQ(refused.status, 503);
  EXPECT_GT(refused.retry_after, 0);
  EXPECT_EQ(store_->events.size(), 1u);  // kept; a duplicate the next time
  press(PressureLevel::kNone);
  EXPECT_EQ(post_and_commit("/v1/batch", batch).status, 200);
  EXPECT_EQ(store_->events.size(), 2u);
}

TEST_F(PressureTest, TheKeysPriorityCountsForEventsThatNameNone) {
  event::KeyOptions bulk;
  bulk.key = "bulk";
  bulk.priority = "low";
  event::KeyOptions orders;
  orders.key = "orders";
  orders.priority = "high";
  start({bulk, orders});
  press(PressureLevel::kShedNormal);
  const std::string body = R"({"name":"n"})";
  EXPECT_EQ(post_and_commit("/v1/events?key=bulk", body).status, 503);
  EXPECT_EQ(post_and_commit("/v1/events?key=orders", body).status, 200);
  EXPECT_EQ(post_and_commit("/v1/events?key=bulk", R"({"name":"n","priority":"high"})").status,
            200);
}

TEST_F(PressureTest, AnEventThatIsShedIsNotAcknowledgedAsReceived) {
  event::KeyOptions key;
  key.key = "k";
  key.ack = {"committed", "received"};
  start({key});
  press(PressureLevel::kShedLow);
  const auto answer = post("/v1/events?key=k&ack=received", events({"low", "high"}));
  EXPECT_EQ(answer->count, 0) << "the answer waits for the commit and tells what was shed";
  commit();
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body, HasSubstr("shed_low_disk"));
}

TEST_F(PressureTest, ReadinessIsRedBeforeAnythingIsRefusedAndNamesTheReason) {
  press(PressureLevel::kNotReady);
  EXPECT_EQ(post_and_commit("/v1/events", events({"low"})).status, 200);
  const auto ready = send(kGet, "/readyz");
  EXPECT_EQ(ready->status, 503);
  EXPECT_THAT(ready->body, AllOf(HasSubstr(R"("reason":"disk_watermark")"),
                                 HasSubstr("because the test says so")));
  EXPECT_EQ(send(kGet, "/livez")->status, 200);
  press(PressureLevel::kNone);
  EXPECT_EQ(send(kGet, "/readyz")->status, 200);
}

TEST_F(PressureTest, MemoryShedsAtItsOwnMarksAndKeepsReadinessRedForAWhile) {
  store_->queue_percent = 86;
  next_turn();
  EXPECT_EQ(post_and_commit("/v1/events", events({"low"})).status, 503);
  EXPECT_EQ(count(Metric::kEventsShed, {"low", "memory"}), 1u);
  EXPECT_EQ(post_and_commit("/v1/events", events({"normal"})).status, 200);
  store_->queue_percent = 10;
  next_turn();
  EXPECT_EQ(post_and_commit("/v1/events", events({"low"})).status, 200);
  EXPECT_THAT(send(kGet, "/readyz")->body, HasSubstr("memory_watermark"));
  clock_.advance_ms(PressureGauge::kHoldNs / 1'000'000);
  next_turn();
  EXPECT_EQ(send(kGet, "/readyz")->status, 200);
}

class RateTest : public PressureTest {
 protected:
  static event::KeyOptions limited(const std::string& text, uint64_t rate, uint64_t burst = 0) {
    event::KeyOptions key;
    key.key = text;
    key.name = "shop";
    key.rate = rate;
    key.rate_burst = burst;
    return key;
  }
  int status(const std::string& key, int events_per_request = 1) {
    std::string body = "[";
    for (int i = 0; i < events_per_request; ++i)
      body += std::string(i == 0 ? "" : ",") + R"({"name":"n"})";
    last_ = post_and_commit("/v1/events?key=" + key, body + "]");
    return last_.status;
  }
  Answer last_;
};

TEST_F(RateTest, OverItsRateAKeyIsAnswered429UntilTokensAreBack) {
  start({limited("k", 10, 5), limited("free", 0)});
  clock_.advance_ms(60'000);
  loop_->turn();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(status("k"), 200) << i;
  EXPECT_EQ(status("k"), 429);
  EXPECT_EQ(last_.retry_after, 1);
  EXPECT_THAT(last_.body, AllOf(HasSubstr(R"("code":"rate_limited")"), HasSubstr("10 events")));
  EXPECT_EQ(count(Metric::kRateLimited, {"shop"}), 1u);
  EXPECT_EQ(status("free"), 200);  // another key is not held up
  clock_.advance_ms(100);
  loop_->turn();
  EXPECT_EQ(status("k"), 200);
  EXPECT_EQ(status("k"), 429);
}

TEST_F(RateTest, ABatchLargerThanTheBurstIsTakenAndMakesTheNextOnesWait) {
  start({limited("k", 10, 5)});
  EXPECT_EQ(status("k", 25), 200);
  EXPECT_EQ(status("k"), 429);
  EXPECT_EQ(last_.retry_after, 3);  // 21 tokens short at 10 a second
  clock_.advance_ms(2'100);
  loop_->turn();
  EXPECT_EQ(status("k"), 200);
}

TEST_F(RateTest, AReloadDoesNotGiveTheTokensBack) {
  const std::vector<event::KeyOptions> keys = {limited("k", 10, 1)};
  start(keys);
  auto first = table(keys);
  pipeline_->set_keys(first);
  EXPECT_EQ(status("k"), 200);
  EXPECT_EQ(status("k"), 429);
  pipeline_->set_keys(*event::KeyTable::build(keys, first.get()));
  EXPECT_EQ(status("k"), 429);
  pipeline_->set_keys(*event::KeyTable::build({limited("k", 1000, 5)}, first.get()));
  EXPECT_EQ(status("k"), 200);  // another rate begins anew
}

TEST_F(RateTest, EventsThatNameTheirOwnKeysAreLimitedOneByOne) {
  start({limited("a", 10, 1), limited("b", 10, 100)});
  const std::string body =
      R"([{"name":"n","writeKey":"a"},{"name":"n","writeKey":"a"},{"name":"n","writeKey":"b"}])";
  const Answer answer = post_and_commit("/v1/events", body);
  EXPECT_THAT(answer.body, AllOf(HasSubstr(R"("accepted":2)"), HasSubstr(R"("rate_limited")")));
  const Answer all = post_and_commit("/v1/events", R"([{"name":"n","writeKey":"a"}])");
  EXPECT_EQ(all.status, 429);
  EXPECT_THAT(all.body, Not(HasSubstr("unknown_key")));
}

}  // namespace
}  // namespace weir
