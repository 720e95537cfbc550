// The ingest order: what is stored, what is answered and when. Protocol details have their own
// tests (protocols/protocols_test.cc).
#include "collector/pipeline.h"

#include <gmock/gmock.h>

#include "tests/collector/pipeline_fixture.h"

namespace weir {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr auto kGet = http::Method::kGet;
constexpr auto kPost = http::Method::kPost;

std::string batch_of(int events, size_t padding = 0) {
  std::string body = "[";
  for (int i = 0; i < events; ++i) {
    if (i > 0) body += ',';
    body += R"({"id":"e)" + std::to_string(i) + R"(","name":"n","pad":")" +
            std::string(padding, 'x') + "\"}";
  }
  return body + "]";
}

TEST_F(PipelineTest, AnswersOnlyAfterTheCommit) {
  const auto answer = post("/v1/events", R"({"id":"a","name":"n"})");
  EXPECT_EQ(answer->count, 0);
  EXPECT_TRUE(store_->lent.empty()) << "handed over at the end of the turn";
  loop_->turn();
  ASSERT_EQ(store_->lent.size(), 1u);
  EXPECT_EQ(answer->count, 0);
  store_->commit_all();
  EXPECT_EQ(answer->count, 0);
  loop_->wake();
  EXPECT_EQ(answer->count, 1);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->headers, "Weir-Ack: committed\r\n");
  EXPECT_EQ(answer->body, R"({"accepted":1,"duplicates":0,"rejected":0,"results":[]})");
  EXPECT_EQ(pipeline_->in_flight(), 0u);
  EXPECT_EQ(stored(0).raw, R"({"id":"a","name":"n"})");
}

TEST_F(PipelineTest, KeepsTheClientsObjectByteForByte) {
  const std::string event = "{ \"name\" : \"x\\u0041\\ud83d\" ,\n\t\"n\": 1e999, \"name\":\"y\" }";
  EXPECT_EQ(post_and_commit("/v1/events", "\xef\xbb\xbf  [" + event + " ]\n").status, 200);
  EXPECT_EQ(stored(0).raw, event);
  EXPECT_EQ(stored(0).name, "y");
}

TEST_F(PipelineTest, ADuplicateIsASuccess) {
  post_and_commit("/v1/events", R"({"id":"a","name":"n"})");
  const Answer again = post_and_commit("/v1/events", R"([{"id":"a","name":"n"},{"name":"m"}])");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, R"({"accepted":1,"duplicates":1,"rejected":0,"results":[]})");
  EXPECT_EQ(store_->events.size(), 2u);
  EXPECT_EQ(count(Metric::kEvents, {"native", "duplicate", ""}), 1u);
  EXPECT_EQ(count(Metric::kEvents, {"native", "stored", ""}), 2u);
  const Answer only = post_and_commit("/v1/events", R"({"id":"a","name":"n"})");
  EXPECT_EQ(only.status, 200);
  EXPECT_EQ(only.body, R"({"accepted":0,"duplicates":1,"rejected":0,"results":[]})");
}

TEST_F(PipelineTest, ASyntaxErrorAnywhereStoresNothing) {
  std::string body = batch_of(200);
  body.insert(body.size() - 3, "\x01");
  const Answer answer = post_and_commit("/v1/events", body);
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, StartsWith(R"({"success":false,"code":"invalid_json","message":")"));
  EXPECT_THAT(answer.body, HasSubstr("at byte " + std::to_string(body.size() - 4)));
  EXPECT_TRUE(store_->events.empty());
  EXPECT_EQ(pipeline_->in_flight(), 0u);

  const std::string wrapper = R"({"events":)" + batch_of(100) + R"(,"sentAt":tru})";
  EXPECT_EQ(post_and_commit("/v1/events", wrapper).status, 400);
  EXPECT_TRUE(store_->events.empty());
}

TEST_F(PipelineTest, NdjsonCountsPerLine) {
  const Answer answer =
      post_and_commit("/v1/events", "{\"id\":\"1\",\"name\":\"a\"}\n{\"id\":\n{\"name\":\"b\"}\n",
                      {{"Content-Type", "application/x-ndjson"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(
      answer.body,
      R"({"accepted":2,"duplicates":0,"rejected":1,"results":[{"index":1,"status":"rejected",)"
      R"("reason":"invalid_json","detail":"the text ends inside a value at byte 28"}]})");
  EXPECT_EQ(count(Metric::kEvents, {"native", "rejected", "invalid_json"}), 1u);
}

TEST_F(PipelineTest, VerboseListsEveryEvent) {
  post_and_commit("/v1/events", R"({"id":"old","name":"n"})");
  const Answer answer =
      post_and_commit("/v1/events?verbose=1",
                      R"([{"id":"new-order","name":"n"},{"id":"bad"},{"id":"old","name":"n"},
                                 {"name":"without id"},7])");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(
      answer.body,
      R"({"accepted":2,"duplicates":1,"rejected":2,"results":[)"
      R"({"index":0,"id":"new-order","status":"accepted"},)"
      R"({"index":1,"id":"bad","status":"rejected","reason":"missing_name"},)"
      R"({"index":2,"id":"old","status":"duplicate"},)"
      R"({"index":3,"id":"00112233-4455-4677-8899-aabbccddeeff-0-3","status":"accepted"},)"
      R"({"index":4,"status":"rejected","reason":"not_an_object","detail":"expected an object at byte 124"}]})");
}

TEST_F(PipelineTest, AllRejectedIs400WithTheSameBody) {
  const Answer answer = post_and_commit("/v1/events", R"([{"id":"x"},{"id":"y"}])");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.headers, "");
  EXPECT_EQ(answer.body, R"({"accepted":0,"duplicates":0,"rejected":2,"results":[)"
                         R"({"index":0,"id":"x","status":"rejected","reason":"missing_name"},)"
                         R"({"index":1,"id":"y","status":"rejected","reason":"missing_name"}]})");
}

TEST_F(PipelineTest, AnEmptyBatchIsASuccessWithoutACommit) {
  const auto answer = post("/v1/events", "[]");
  EXPECT_EQ(answer->count, 1);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, R"({"accepted":0,"duplicates":0,"rejected":0,"results":[]})");
}

// ---- keys and rules

std::vector<event::KeyOptions> campaign_keys() {
  event::KeyOptions campaign;
  campaign.key = "wk_campaign";
  campaign.name = "campaign";
  campaign.tenant = "acme";
  campaign.require = {"campaign_id", "trackingId", "orderNo"};
  campaign.patterns = {{"tracking_id", "[A-Z]{2}-\\d+"}};
  campaign.allow = {{"campaign_id", {"spring", "summer"}}};
  campaign.origins = {"https://shop.example", "https://*.shop.example"};
  campaign.ack = {"committed", "received"};
  campaign.content_hash = "raw";
  event::KeyOptions plain;
  plain.key = "wk_plain";
  plain.tenant = "other";
  plain.keep_ip = true;
  return {campaign, plain};
}

TEST_F(PipelineTest, FindsTheKeyInTheOrderOfTheContract) {
  start(campaign_keys());
  const std::string event = R"({"name":"n"})";
  const Headers bearer = {{"Authorization", "Bearer wk_plain"}};
  EXPECT_EQ(post_and_commit("/v1/events", event, bearer).status, 200);
  EXPECT_EQ(post_and_commit("/v1/events", event, {{"authorization", "Basic d2tfcGxhaW46"}}).status,
            200);
  EXPECT_EQ(post_and_commit("/v1/events", event, {{"X-Write-Key", "wk_plain"}}).status, 200);
  EXPECT_EQ(post_and_commit("/v1/events?key=wk%5Fplain", event).status, 200);
  for (const char* name : {"writeKey", "api_key", "apiKey", "token"}) {
    const std::string member = std::string("\"") + name + "\":\"wk_plain\"";
    EXPECT_EQ(post_and_commit("/v1/events", "{\"name\":\"n\"," + member + "}").status, 200) << name;
    EXPECT_EQ(
        post_and_commit("/v1/events", "{\"events\":[{\"name\":\"n\"}]," + member + "}").status, 200)
        << name;
  }
  EXPECT_EQ(
      post_and_commit("/v1/events", R"({"name":"n","properties":{"token":"wk_plain"}})").status,
      200);
  // An earlier place beats a later one, known or not.
  EXPECT_EQ(post_and_commit("/v1/events?key=wk_plain", event, {{"X-Write-Key", "nope"}}).status,
            401);
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n","writeKey":"nope"})", bearer).status, 200);
  EXPECT_EQ(post_and_commit("/v1/events", event).status, 401);
  const Answer unknown = post_and_commit("/v1/events", R"({"name":"n","writeKey":"nope"})");
  EXPECT_EQ(unknown.status, 401);
  EXPECT_THAT(unknown.body, HasSubstr(R"("code":"unknown_key")"));
  EXPECT_EQ(post_and_commit("/v1/events", R"({"events":[],"token":"nope"})").status, 401);
  EXPECT_EQ(stored(0).tenant, "other");
}

TEST_F(PipelineTest, EventsOfOneArrayMayNameDifferentKeys) {
  start(campaign_keys());
  const Answer answer = post_and_commit(
      "/v1/events", R"([{"name":"n","writeKey":"wk_plain"},{"name":"n","writeKey":"nope"}])");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body, HasSubstr(R"("rejected":1)"));
  EXPECT_THAT(answer.body, HasSubstr(R"({"index":1,"status":"rejected","reason":"unknown_key"})"));
}

TEST_F(PipelineTest, AWriteKeyIsNotKeptInTheEnvelope) {
  start(campaign_keys());
  post_and_commit("/v1/events", R"({"token":"wk_plain","sentAt":"t","events":[{"name":"n"}]})");
  EXPECT_EQ(stored(0).envelope, R"({"sentAt":"t"})");
}

TEST_F(PipelineTest, OnlyEventsThatKeepTheRulesAreStored) {
  start(campaign_keys());
  struct Case {
    const char* event;
    const char* reason;  // empty: stored
  };
  const Case cases[] = {
      {R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":7})", ""},
      {R"({"name":"n","campaignId":"summer","trackingId":"AB-22","properties":{"orderNo":"x"}})",
       ""},
      {R"({"name":"n","properties":{"campaign_id":"spring","orderNo":"y"},
           "context":{"campaign":{"tracking_id":"AB-1"}}})",
       ""},
      {R"({"name":"n","campaign_id":null,"data":{"campaign_id":"spring","tracking_id":"AB-3","orderNo":1}})",
       ""},
      {R"({"name":"n","tracking_id":"AB-1","orderNo":7})", "missing_campaign_id"},
      {R"({"name":"n","campaign_id":"","tracking_id":"AB-1","orderNo":7})", "missing_campaign_id"},
      {R"({"name":"n","campaign_id":{},"tracking_id":"AB-1","orderNo":7})", "invalid_campaign_id"},
      {R"({"name":"n","campaign_id":"spring sale","tracking_id":"AB-1","orderNo":7})",
       "invalid_campaign_id"},
      {R"({"name":"n","campaign_id":"winter","tracking_id":"AB-1","orderNo":7})",
       "not_allowed_campaign_id"},
      {R"({"name":"n","campaign_id":"spring","tracking_id":"ab-1","orderNo":7})",
       "invalid_tracking_id"},
      {R"({"name":"n","campaign_id":"spring","orderNo":7})", "missing_tracking_id"},
      {R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1"})", "missing_orderNo"},
      {R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":true})",
       "invalid_orderNo"},
      {R"({"campaign_id":"spring","tracking_id":"AB-1","orderNo":7})", "missing_name"},
  };
  for (const Case& c : cases) {
    const size_t before = store_->events.size();
    const Answer answer = post_and_commit("/v1/events", c.event, {{"X-Write-Key", "wk_campaign"}});
    if (*c.reason == '\0') {
      EXPECT_EQ(answer.status, 200) << c.event;
      ASSERT_EQ(store_->events.size(), before + 1) << c.event;
      EXPECT_EQ(stored(before).tenant, "acme");
      EXPECT_EQ(stored(before).key_name, "campaign");
      EXPECT_FALSE(stored(before).campaign_id.empty());
      EXPECT_FALSE(stored(before).tracking_id.empty());
    } else {
      EXPECT_EQ(answer.status, 400) << c.event;
      EXPECT_THAT(answer.body, HasSubstr("\"reason\":\"" + std::string(c.reason) + "\""));
      EXPECT_EQ(store_->events.size(), before) << c.event;
      EXPECT_GE(count(Metric::kEvents, {"native", "rejected", c.reason}), 1u) << c.reason;
    }
  }
}

TEST_F(PipelineTest, HoldsOriginsAgainstTheKey) {
  start(campaign_keys());
  const std::string event =
      R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":7})";
  const auto status = [&](const char* origin) {
    return post_and_commit("/v1/events", event,
                           {{"X-Write-Key", "wk_campaign"}, {"Origin", origin}})
        .status;
  };
  EXPECT_EQ(status("https://shop.example"), 200);
  EXPECT_EQ(status("https://EU.shop.example"), 200);
  EXPECT_EQ(status("https://evil.example"), 403);
  EXPECT_EQ(status("https://shop.example.evil"), 403);
  EXPECT_EQ(status("http://shop.example"), 403);
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n","writeKey":"wk_campaign"})",
                            {{"Origin", "https://evil.example"}})
                .status,
            403);
}

TEST_F(PipelineTest, AReloadChangesTheKeysOfLaterRequestsOnly) {
  start(campaign_keys());
  clock_.step_ns = 200'000;
  const auto running = post("/v1/events", batch_of(300, 100), {{"X-Write-Key", "wk_plain"}});
  EXPECT_EQ(loop_->deferred(), 1u) << "a slice remains";
  event::KeyOptions other;
  other.key = "wk_new";
  pipeline_->set_keys(table({other}));
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n"})", {{"X-Write-Key", "wk_plain"}}).status,
            401);
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n"})", {{"X-Write-Key", "wk_new"}}).status,
            200);
  EXPECT_EQ(running->status, 200);
  EXPECT_EQ(store_->events.size(), 301u);
}

TEST_F(PipelineTest, TheClientsAddressIsStoredOnlyWhereTheKeyAsks) {
  start(campaign_keys());
  post_and_commit("/v1/events", R"({"name":"n"})", {{"X-Write-Key", "wk_plain"}});
  EXPECT_EQ(stored(0).ip, "203.0.113.9");
  start({});
  post_and_commit("/v1/events", R"({"name":"n"})", {{"User-Agent", "test/1"}});
  EXPECT_EQ(stored(0).ip, "");
  EXPECT_EQ(stored(0).user_agent, "test/1");
}

// ---- identity

TEST_F(PipelineTest, ARequestsIdempotencyKeyCoversItsEventsByIndex) {
  const Headers key = {{"Idempotency-Key", "req-1"}};
  const std::string body = R"([{"name":"a"},{"name":"a"},{"id":"own","name":"a"}])";
  EXPECT_THAT(post_and_commit("/v1/events", body, key).body, HasSubstr(R"("accepted":3)"));
  EXPECT_THAT(post_and_commit("/v1/events", body, key).body, HasSubstr(R"("duplicates":3)"));
  EXPECT_THAT(post_and_commit("/v1/events", body).body,
              HasSubstr(R"("accepted":2,"duplicates":1)"));
  EXPECT_EQ(stored(0).id, "") << "the forwarder names it after its position";
}

TEST_F(PipelineTest, ContentIsHashedWhereTheKeyAsks) {
  start(campaign_keys());
  const std::string event =
      R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":7})";
  const Headers campaign = {{"X-Write-Key", "wk_campaign"}};
  EXPECT_THAT(post_and_commit("/v1/events", event, campaign).body, HasSubstr(R"("accepted":1)"));
  EXPECT_THAT(post_and_commit("/v1/events", event, campaign).body, HasSubstr(R"("duplicates":1)"));
  const Headers plain = {{"X-Write-Key", "wk_plain"}};
  EXPECT_THAT(post_and_commit("/v1/events", event, plain).body, HasSubstr(R"("accepted":1)"));
  EXPECT_THAT(post_and_commit("/v1/events", event, plain).body, HasSubstr(R"("accepted":1)"));
}

TEST_F(PipelineTest, TenantsDoNotShareIds) {
  auto keys = campaign_keys();
  keys[0].require.clear();
  keys[0].allow.clear();
  start(keys);
  const std::string event = R"({"id":"same","name":"n"})";
  EXPECT_THAT(post_and_commit("/v1/events?key=wk_campaign", event).body,
              HasSubstr(R"("accepted":1)"));
  EXPECT_THAT(post_and_commit("/v1/events?key=wk_plain", event).body, HasSubstr(R"("accepted":1)"));
}

// ---- acknowledgement levels and refusals

TEST_F(PipelineTest, ReceivedIsAnsweredAtOnceWhereTheKeyAllowsIt) {
  start(campaign_keys());
  const std::string event =
      R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":7})";
  const auto early = post("/v1/events?ack=received&key=wk_campaign", event);
  EXPECT_EQ(early->status, 202);
  EXPECT_EQ(early->body, R"({"received":1})");
  EXPECT_EQ(early->headers, "Weir-Ack: received\r\n");
  EXPECT_EQ(pipeline_->in_flight(), 1u);
  commit();
  EXPECT_EQ(early->count, 1);
  EXPECT_EQ(pipeline_->in_flight(), 0u);
  EXPECT_EQ(store_->events.size(), 1u);
  const auto late = post("/v1/events?ack=received&key=wk_plain", event);
  EXPECT_EQ(late->count, 0) << "this key promises commits only";
  commit();
  EXPECT_EQ(late->status, 200);
}

TEST_F(PipelineTest, ALaterFailureOfAReceivedRequestIsCounted) {
  start(campaign_keys());
  post("/v1/events?ack=received&key=wk_campaign",
       R"({"name":"n","campaign_id":"spring","tracking_id":"AB-1","orderNo":7})");
  loop_->turn();
  store_->refuse_all(storage::Refusal::kSyncFailed);
  loop_->wake();
  EXPECT_EQ(count(Metric::kEvents, {"native", "refused", "sync_failed"}), 1u);
}

TEST_F(PipelineTest, RefusesBeforeTheBodyWhenNothingCanBeCommitted) {
  EXPECT_TRUE(head(kPost, "/v1/events").accept);
  store_->set_admission(storage::Refusal::kDiskFull);
  const http::HeadVerdict verdict = head(kPost, "/v1/events");
  EXPECT_FALSE(verdict.accept);
  EXPECT_EQ(verdict.error.status, 503);
  EXPECT_EQ(verdict.error.code, "disk_full");
  EXPECT_GT(verdict.error.retry_after_seconds, 0);
  EXPECT_TRUE(head(kGet, "/health").accept);
  EXPECT_EQ(count(Metric::kPipelineErrors, {"disk_full"}), 1u);
}

TEST_F(PipelineTest, RefusesAfterTheBodyToo) {
  store_->set_admission(storage::Refusal::kStoreFull);
  const auto answer = post("/v1/events", R"({"name":"n"})");
  EXPECT_EQ(answer->status, 503);
  EXPECT_GT(answer->retry_after, 0);
  EXPECT_THAT(answer->body, HasSubstr(R"("code":"store_full")"));
  EXPECT_EQ(pipeline_->in_flight(), 0u);
}

TEST_F(PipelineTest, ARefusedAppendIs503) {
  const auto answer = post("/v1/events", R"({"name":"n"})");
  loop_->turn();
  store_->refuse_all(storage::Refusal::kQueueFull);
  loop_->wake();
  EXPECT_EQ(answer->status, 503);
  EXPECT_THAT(answer->body, HasSubstr(R"("code":"queue_full")"));
  EXPECT_EQ(count(Metric::kEvents, {"native", "refused", "queue_full"}), 1u);
}

TEST_F(PipelineTest, AnOverdueCommitIsAnsweredOutcomeUnknownAndItsMemoryKept) {
  const auto first = post("/v1/events", R"({"id":"1","name":"n"})");
  loop_->turn();
  clock_.advance_ms(6'000);
  const auto second = post("/v1/events", R"({"id":"2","name":"n"})");
  loop_->turn();
  clock_.advance_ms(4'100);
  loop_->turn();
  EXPECT_EQ(first->status, 503);
  EXPECT_THAT(first->body, HasSubstr(R"("code":"outcome_unknown")"));
  EXPECT_EQ(second->count, 0);
  EXPECT_EQ(pipeline_->in_flight(), 2u);
  clock_.advance_ms(6'100);
  loop_->turn();
  EXPECT_EQ(second->status, 503);
  store_->commit_all();  // reads every byte that was lent
  loop_->wake();
  EXPECT_EQ(first->count, 1);
  EXPECT_EQ(second->count, 1);
  EXPECT_EQ(store_->events.size(), 2u);
  EXPECT_EQ(stored(1).raw, R"({"id":"2","name":"n"})");
  EXPECT_EQ(pipeline_->in_flight(), 0u);
  // The timer goes on for later requests.
  const auto third = post("/v1/events", R"({"id":"3","name":"n"})");
  loop_->turn();
  clock_.advance_ms(10'100);
  loop_->turn();
  EXPECT_EQ(third->status, 503);
  store_->commit_all();
  loop_->wake();
}

TEST_F(PipelineTest, WhatAClientSentBeforeItLeftIsStored) {
  clock_.step_ns = 200'000;
  const auto answer = post("/v1/events", batch_of(200, 100));
  last_exchange_->gone = true;
  commit();
  EXPECT_EQ(answer->count, 1);
  EXPECT_EQ(store_->events.size(), 200u);
}

TEST_F(PipelineTest, PipelinedRequestsAreIndependent) {
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 50; ++i)
    answers.push_back(post("/v1/events", R"({"id":")" + std::to_string(i) + R"(","name":"n"})"));
  EXPECT_EQ(post("/v1/events", "{")->status, 400);
  commit();
  for (const auto& answer : answers) EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(store_->events.size(), 50u);
  EXPECT_EQ(stored(49).id, "49");
}

// ---- slices and memory

TEST_F(PipelineTest, ALargeBatchIsWorkedOffInSlicesThatLetOthersThrough) {
  clock_.step_ns = 200'000;  // the third look at the clock ends a slice
  const auto large = post("/v1/events", batch_of(300, 300));
  EXPECT_EQ(loop_->deferred(), 1u);
  const auto small = post("/v1/events", R"({"id":"s","name":"n"})");
  EXPECT_EQ(loop_->deferred(), 1u);
  loop_->turn();
  store_->commit_all();
  loop_->wake();
  EXPECT_EQ(small->status, 200) << "not held back by the large one";
  EXPECT_EQ(large->count, 0);
  EXPECT_EQ(store_->events.size(), 1u) << "nothing of the large one before it was read whole";
  commit();
  EXPECT_EQ(large->status, 200);
  EXPECT_EQ(store_->events.size(), 301u);
}

TEST_F(PipelineTest, SlicesAndTheirOverrunsAreCounted) {
  post_and_commit("/v1/events", batch_of(3));
  EXPECT_EQ(count(Metric::kParseSliceOverruns, {}), 0u);
  clock_.step_ns = 600'000;
  post_and_commit("/v1/events", batch_of(200, 100));
  EXPECT_GE(count(Metric::kParseSliceOverruns, {}), 2u);
  uint64_t slices = 0;
  for (const MetricRegistry::Series& series : metrics_->collect())
    if (series.metric == Metric::kRequestSlices) slices = series.sum;
  EXPECT_GE(slices, 4u) << "one, and at least three";
}

TEST_F(PipelineTest, TheEnvelopeCannotMultiplyWithoutBound) {
  PipelineOptions options;
  options.limits.encoded_bytes = 10'000;
  start({}, options);
  std::string events;
  for (int i = 0; i < 100; ++i) events += std::string(i ? "," : "") + R"({"name":"n"})";
  const Answer answer = post_and_commit(
      "/v1/events", R"({"c":")" + std::string(200, 'x') + R"(","events":[)" + events + "]}");
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.body, HasSubstr("envelope_too_large"));
  EXPECT_TRUE(store_->events.empty());
}

TEST_F(PipelineTest, EventMemoryIsBounded) {
  PipelineOptions options;
  options.event_memory_bytes = 100'000;
  start({}, options);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    const auto answer = post("/v1/events", batch_of(50));
    if (answer->count > 0) {
      EXPECT_EQ(answer->status, 503);
      EXPECT_THAT(answer->body, HasSubstr("event_memory"));
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_LT(refused, 100);
  commit();
  EXPECT_EQ(pipeline_->in_flight(), 0u);
  EXPECT_EQ(post_and_commit("/v1/events", batch_of(50)).status, 200);
}

// ---- routes

TEST_F(PipelineTest, UnknownPathsAndMethods) {
  EXPECT_EQ(head(kPost, "/nothing").error.status, 404);
  EXPECT_EQ(head(kGet, "/tracker.js").error.status, 404);
  EXPECT_EQ(head(kPost, "/v1/events/").error.status, 404);
  EXPECT_TRUE(head(kGet, "/v1/events").accept);
  const auto wrong = send(kGet, "/v1/events");
  EXPECT_EQ(wrong->status, 405);
  EXPECT_EQ(wrong->headers, "Allow: POST, OPTIONS\r\n");
  EXPECT_EQ(send(kPost, "/v1/pixel.gif", "x")->headers, "Allow: GET, OPTIONS\r\n");
  EXPECT_EQ(send(kPost, "/health")->status, 405);
  EXPECT_EQ(send(kGet, "/nothing")->status, 404);
}

TEST_F(PipelineTest, HealthSaysWhetherACommitCanSucceed) {
  EXPECT_EQ(send(kGet, "/health")->body, R"({"status":"ok"})");
  EXPECT_EQ(send(kGet, "/readyz")->status, 200);
  store_->set_admission(storage::Refusal::kSyncFailed);
  EXPECT_EQ(send(kGet, "/livez")->status, 200);
  EXPECT_EQ(send(kGet, "/health")->status, 200);
  const auto ready = send(kGet, "/readyz");
  EXPECT_EQ(ready->status, 503);
  EXPECT_THAT(ready->body, HasSubstr(R"("reason":"sync_failed")"));
  EXPECT_THAT(ready->body, HasSubstr("because the test says so"));
}

TEST_F(PipelineTest, OpenModeServesOnlyLoopbackHosts) {
  PipelineOptions options;
  options.open_mode = true;
  start({}, options);
  const auto status = [&](const char* host) {
    return post_and_commit("/v1/events", R"({"name":"n"})", {{"Host", host}}).status;
  };
  EXPECT_EQ(status("127.0.0.1:8080"), 200);
  EXPECT_EQ(status("localhost"), 200);
  EXPECT_EQ(status("[::1]:8080"), 200);
  EXPECT_EQ(status("evil.example"), 403);
  EXPECT_EQ(status("127.evil.example"), 403);
  EXPECT_EQ(status("[::1].evil.example"), 403);
}

TEST_F(PipelineTest, AnOpenServerTakesAnyKey) {
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n"})", {{"X-Write-Key", "anything"}}).status,
            200);
}

TEST_F(PipelineTest, CorsFollowsTheKeyOrAnyKey) {
  start(campaign_keys());
  FakeExchange exchange(std::make_shared<Answer>());
  http::Request& request = exchange.request();
  request.method = http::Method::kOptions;
  request.path = "/v1/events";
  EXPECT_TRUE(pipeline_->allows_origin(request, "https://anywhere.example"));
  request.query = "key=wk_campaign";
  EXPECT_FALSE(pipeline_->allows_origin(request, "https://anywhere.example"));
  EXPECT_TRUE(pipeline_->allows_origin(request, "https://shop.example"));
}

TEST_F(PipelineTest, LimitsOfEventsChangeBetweenTwoRequests) {
  const std::string deep = R"({"name":"n","properties":{"a":{"b":1}}})";
  EXPECT_EQ(post_and_commit("/v1/events", deep).status, 200);
  PipelineLimits limits;
  limits.events.depth = 2;
  limits.events.event_bytes = 64;
  limits.event_memory_bytes = 1 << 20;
  limits.retry_after_seconds = 17;
  pipeline_->set_limits(limits);
  EXPECT_NE(post_and_commit("/v1/events", deep).status, 200);
  const std::string large = R"({"name":")" + std::string(100, 'n') + R"("})";
  EXPECT_EQ(post_and_commit("/v1/events", large).status, 413);
  EXPECT_EQ(post_and_commit("/v1/events", R"({"name":"n"})").status, 200);
  store_->set_admission(storage::Refusal::kDiskFull);
  EXPECT_EQ(head(http::Method::kPost, "/v1/events").error.retry_after_seconds, 17);
}

}  // namespace
}  // namespace weir
