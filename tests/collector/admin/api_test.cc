// The paths of the admin listener against a store with canned answers: what is answered, by whom it
// may be asked, and that slow questions do not hold up quick ones.
#include "collector/admin/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/base/event_record.h"
#include "tests/collector/admin/fakes.h"
#include "tests/collector/http/fixture.h"

namespace weir::admin {
namespace {

using http::Method;
using ::testing::HasSubstr;
using ::testing::Not;

// SHA-256 of "boss".
constexpr std::string_view kBossHash =
    "a5e7c002443743c5836758c7d1cd8ddefd9fcf2061daa0efaac683fb99966057";

class ApiTest : public ::testing::Test {
 protected:
  // Made when first used: its worker looks at the store, which the test fills before.
  Api& api() {
    if (api_ == nullptr)
      api_ = std::make_unique<Api>(deps(), std::vector<TokenOptions>(), 3'600'000);
    return *api_;
  }

  ApiDeps deps() {
    ApiDeps out{store_, forwarder_, metrics_, clock_, loop_, {}, {}, {}, 3'600'000, {}, {}};
    out.info.node = "test-node";
    out.info.version = "1.2.3";
    out.edit_event = [](std::string_view, std::string_view raw) -> Result<std::string> {
      if (raw.find('{') == raw.npos) return fail(ErrorCode::kInvalidArgument, "not an object");
      return record("edited", raw);
    };
    out.config_json = [] { return std::string(R"({"store.max_bytes":{}})"); };
    out.reload = [this]() -> Result<std::string> {
      if (!reload_works_) return fail(ErrorCode::kInvalidArgument, "store.shards needs a restart");
      return std::string(R"({"changed":["keys"]})");
    };
    return out;
  }

  static std::string record(std::string_view name, std::string_view raw) {
    EventFields fields;
    fields.id = "e1";
    fields.name = name;
    std::string out;
    append_event_head(out, fields);
    out += raw;
    return out;
  }

  void add_letter(uint64_t id, const std::string& lane, const std::string& reason) {
    storage::DeadLetter letter;
    letter.id = id;
    letter.lane = lane;
    letter.reason = reason;
    letter.status = 400;
    letter.attempts = 3;
    letter.event_id = "event-" + std::to_string(id);
    letter.detail = "cannot parse price";
    letter.payload = record("bought", R"({"name":"bought"})");
    store_.letters[id] = letter;
  }

  // Asks and waits for the answer.
  FakeExchange& ask(Method method, std::string_view target,
                    std::vector<http::Header> headers = {{"Host", "localhost"}}) {
    return ask_with(method, target, {}, std::move(headers));
  }
  FakeExchange& ask_with(Method method, std::string_view target, std::string_view body,
                         std::vector<http::Header> headers = {{"Host", "localhost"}}) {
    exchange_ = std::make_unique<FakeExchange>();
    target_ = target;
    exchange_->set(method, target_, std::move(headers));
    exchange_->set_body(body);
    api().on_request(*exchange_);
    for (int i = 0; exchange_->answers == 0 && i < 100; ++i) {
      loop_.wakeup().wait(100'000'000);
      api().on_wakeup();
    }
    EXPECT_EQ(exchange_->answers, 1) << target;
    return *exchange_;
  }

  FakeStore store_;
  std::atomic<forwarder::Forwarder*> forwarder_{nullptr};
  MetricRegistry metrics_;
  ManualClock clock_;
  http::test::FakeLoop loop_;
  bool reload_works_ = true;
  std::vector<std::unique_ptr<FakeExchange>> slow_;
  std::string target_;  // of exchange_
  std::unique_ptr<FakeExchange> exchange_;
  std::unique_ptr<Api> api_;
};

TEST_F(ApiTest, UnknownPathsAndMethodsAreTold) {
  EXPECT_EQ(ask(Method::kGet, "/nothing").status, 404);
  EXPECT_EQ(ask(Method::kPost, "/livez").status, 405);
  EXPECT_EQ(ask(Method::kGet, "/api/v1/failed/notanumber").status, 404);
  EXPECT_EQ(ask(Method::kHead, "/livez").status, 200);
}

TEST_F(ApiTest, ReadyOnlyWhenStartedAndTheStoreAccepts) {
  EXPECT_EQ(ask(Method::kGet, "/readyz").status, 503);
  api().set_ready(true);
  EXPECT_EQ(ask(Method::kGet, "/readyz").status, 200);
  store_.set_admission(storage::Refusal::kDiskFull);
  const FakeExchange& refused = ask(Method::kGet, "/readyz");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, HasSubstr("disk_full"));
  EXPECT_EQ(ask(Method::kGet, "/livez").status, 200);
}

TEST_F(ApiTest, StatsHaveTheirShape) {
  store_.fresh.total = {3, 2, 1};
  store_.fresh.tenants["acme"] = {3, 2, 1};
  store_.fresh.lanes["saas"] = {3, 2, 1};
  storage::LaneState lane;
  lane.name = "saas";
  lane.shards.resize(1);
  store_.lane_states = {lane};
  store_.set_accepted(6);
  metrics_.counter(Metric::kEvents, {"native", "rejected", "missing_name"}).add(4);
  const std::string body = ask(Method::kGet, "/api/v1/stats").body;
  EXPECT_THAT(body, HasSubstr(R"({"pending":3,"sent":2,"failed":1,"accepted":6,"duplicates":0)"));
  EXPECT_THAT(body, HasSubstr(R"("rejected":{"missing_name":4})"));
  EXPECT_THAT(body, HasSubstr(R"("destinations":{"saas":{"pending":3,"sent":2,"failed":1,)"));
  EXPECT_THAT(body, HasSubstr(R"("tenants":{"acme":{"pending":3,"sent":2,"failed":1}})"));
  EXPECT_THAT(body, HasSubstr(R"("cache_ttl_seconds":3600)"));
}

TEST_F(ApiTest, StatsAreCachedUntilTheyExpireOrAreForced) {
  ask(Method::kGet, "/api/v1/stats");
  ask(Method::kGet, "/api/v1/stats");
  EXPECT_EQ(store_.counted, 1);
  ask(Method::kGet, "/api/v1/stats?fresh=1");
  EXPECT_EQ(store_.counted, 2);
  clock_.advance_ms(3'599'000);
  ask(Method::kGet, "/api/v1/stats");
  EXPECT_EQ(store_.counted, 2);
  clock_.advance_ms(2'000);
  ask(Method::kGet, "/api/v1/stats");
  EXPECT_EQ(store_.counted, 3);
}

TEST_F(ApiTest, LiveCountersCountPendingByPosition) {
  storage::LaneState lane;
  lane.name = "saas";
  lane.shards.resize(1);
  lane.shards[0].frontier = 8;
  storage::OpenRange open;
  open.first = 3;
  open.last = 4;
  lane.shards[0].open[1] = open;
  store_.lane_states = {lane};
  store_.shard.end = 11;  // 1..10 are committed; 8..10 and 3..4 are not finished
  store_.set_accepted(10);
  EXPECT_THAT(ask(Method::kGet, "/api/v1/live-counters").body,
              HasSubstr(R"({"pending":5,"sent":5,"failed":0,"accepted":10)"));
  const FakeExchange& text =
      ask(Method::kGet, "/api/v1/live-counters", {{"Host", "localhost"}, {"Accept", "text/plain"}});
  EXPECT_THAT(text.body, HasSubstr("5 pending, 5 sent, 0 failed"));
  EXPECT_THAT(text.content_type, HasSubstr("text/plain"));
}

TEST_F(ApiTest, LiveCountersSayHowLongCommitsTookLately) {
  Histogram& commits = metrics_.histogram(Metric::kCommitSeconds, {"0"});
  commits.record(1'000'000'000);  // long ago
  ask(Method::kGet, "/api/v1/live-counters");
  clock_.advance_ms(1'000);
  EXPECT_THAT(ask(Method::kGet, "/api/v1/live-counters").body,
              HasSubstr(R"("commit":{"count":0,"p50_ms":null,)"));
  clock_.advance_ms(1'000);
  for (int i = 0; i < 100; ++i) commits.record(400'000);
  EXPECT_THAT(ask(Method::kGet, "/api/v1/live-counters").body,
              HasSubstr(R"("commit":{"count":100,"p50_ms":0.393,"p95_ms":0.511,"p99_ms":0.522})"));
  clock_.advance_ms(60'000);
  ask(Method::kGet, "/api/v1/live-counters");
  clock_.advance_ms(1'000);
  EXPECT_THAT(ask(Method::kGet, "/api/v1/live-counters").body, HasSubstr(R"("commit":{"count":0)"));
}

TEST_F(ApiTest, TheLiveStreamSendsTheCountersOnceASecondWhileSomebodyListens) {
  FakeExchange reader;
  reader.set(Method::kGet, "/api/v1/live");
  api().on_request(reader);
  EXPECT_THAT(reader.content_type, HasSubstr("text/event-stream"));
  EXPECT_THAT(reader.body,
              HasSubstr("retry: 2000\n\nid: 1\nevent: counters\ndata: {\"pending\":0"));
  store_.set_accepted(7);
  loop_.advance_ms(LiveFeed::kPeriodMs);
  EXPECT_THAT(reader.body, HasSubstr("id: 2\nevent: counters\ndata: {\"pending\":7"));
  reader.gone = true;
  loop_.advance_ms(LiveFeed::kPeriodMs);
  EXPECT_TRUE(reader.finished);
  loop_.advance_ms(LiveFeed::kPeriodMs);
  EXPECT_EQ(loop_.armed_timers(), 1u) << "only the heartbeat, which is the last";
  loop_.advance_ms(15'000);
  EXPECT_EQ(loop_.armed_timers(), 0u) << "nobody listens: nothing is computed";
}

TEST_F(ApiTest, ListenersAreBoundedAndStartAnewAfterAReload) {
  std::vector<std::unique_ptr<FakeExchange>> readers;
  for (unsigned i = 0; i <= EventStream::Limits().subscribers; ++i) {
    readers.push_back(std::make_unique<FakeExchange>());
    readers.back()->set(Method::kGet, "/api/v1/live");
    api().on_request(*readers.back());
  }
  EXPECT_EQ(readers.back()->status, 503);
  EXPECT_THAT(readers.back()->body, HasSubstr("too many listen"));
  api().apply({{"ops", std::string(64, 'a'), "admin", {}, {}, {}}}, 0);
  api().on_wakeup();
  EXPECT_TRUE(readers.front()->finished) << "a token may have been taken away";
  EXPECT_EQ(ask(Method::kGet, "/api/v1/live").status, 401);
}

TEST_F(ApiTest, AStoppingServerEndsItsStreamsAndBeginsNone) {
  FakeExchange reader;
  reader.set(Method::kGet, "/api/v1/live");
  api().on_request(reader);
  api().end_streams();
  EXPECT_TRUE(reader.finished);
  EXPECT_EQ(ask(Method::kGet, "/api/v1/live").status, 503);
}

TEST_F(ApiTest, FailedEventsAreListedWithFilterAndPages) {
  add_letter(1, "a", "http_400");
  add_letter(2, "b", "http_422");
  add_letter(3, "a", "http_400");
  EXPECT_THAT(ask(Method::kGet, "/api/v1/failed").body, HasSubstr("event-2"));
  const std::string filtered = ask(Method::kGet, "/api/v1/failed?destination=a").body;
  EXPECT_THAT(filtered, Not(HasSubstr("event-2")));
  EXPECT_THAT(filtered, HasSubstr(R"("next":null)"));
  const std::string page = ask(Method::kGet, "/api/v1/failed?limit=1&after=1").body;
  EXPECT_THAT(page, HasSubstr("event-2"));
  EXPECT_THAT(page, HasSubstr(R"("next":2)"));
}

TEST_F(ApiTest, AFailedEventIsShownWithItsOwnObject) {
  add_letter(7, "a", "http_400");
  const std::string body = ask(Method::kGet, "/api/v1/failed/7").body;
  EXPECT_THAT(body, HasSubstr(R"("raw":{"name":"bought"})"));
  EXPECT_THAT(body, HasSubstr("cannot parse price"));
  EXPECT_EQ(ask(Method::kGet, "/api/v1/failed/8").status, 404);
}

TEST_F(ApiTest, FailedEventsAreRequeuedAndDiscarded) {
  for (uint64_t id = 1; id <= 1200; ++id) add_letter(id, id % 2 == 0 ? "a" : "b", "http_400");
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/1/requeue").status, 200);
  EXPECT_TRUE(store_.letters[1].requeued);
  EXPECT_EQ(ask(Method::kDelete, "/api/v1/failed/1").status, 200);
  EXPECT_FALSE(store_.letters.contains(1));
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/requeue?destination=a").body, R"({"requeued":600})");
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/requeue?destination=a").body, R"({"requeued":0})");
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/discard").body, R"({"discarded":1199})");
  EXPECT_TRUE(store_.letters.empty());
}

TEST_F(ApiTest, AnUpdateTheStoreRefusesIsReported) {
  add_letter(1, "a", "http_400");
  store_.update_outcome = fail(ErrorCode::kNoSpace, "state_bytes is too small");
  const FakeExchange& answer = ask(Method::kPost, "/api/v1/failed/1/discard");
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr("state_bytes is too small"));
}

TEST_F(ApiTest, ExportIsOneEventALineInPages) {
  for (uint64_t id = 1; id <= 3; ++id) add_letter(id, "a", "http_400");
  const FakeExchange& first = ask(Method::kGet, "/api/v1/failed/export?limit=2");
  EXPECT_EQ(std::count(first.body.begin(), first.body.end(), '\n'), 2);
  EXPECT_THAT(first.headers, HasSubstr("Weir-Next: 2\r\n"));
  const FakeExchange& rest = ask(Method::kGet, "/api/v1/failed/export?limit=2&after=2&raw=1");
  EXPECT_EQ(rest.body, "{\"name\":\"bought\"}\n");
  EXPECT_THAT(rest.headers, Not(HasSubstr("Weir-Next")));
}

TEST_F(ApiTest, ATimeThatIsNoneIsRefusedWithWhatWouldBe) {
  for (const char* path : {"/api/v1/failed?since=yesterday", "/api/v1/failed/export?until=7x"}) {
    const FakeExchange& refused = ask(Method::kGet, path);
    EXPECT_EQ(refused.status, 400) << path;
    EXPECT_THAT(refused.body, HasSubstr("2026-11-20T21:00:00Z"));
  }
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/requeue?since=x").status, 400);
  EXPECT_EQ(ask(Method::kGet, "/api/v1/failed?since=2h&until=2026-11-20T21:00:00Z").status, 200);
}

TEST_F(ApiTest, ExpiredRangesAreListedAndRequeuedAsFarAsTheyAreOnDisk) {
  storage::LaneState lane;
  lane.name = "saas";
  lane.shards.resize(1);
  store_.lane_states = {lane};
  store_.shard.first = 50;
  store_.expired_ranges = {{0, 10, 19, 10, 1'000, "max_backlog_age"},
                           {0, 60, 69, 9, 2'000, "retry_window"}};
  const std::string all = ask(Method::kGet, "/api/v1/failed/expired").body;
  EXPECT_THAT(all, HasSubstr(R"("first":10,"last":19,"events":10,"reason":"max_backlog_age")"));
  EXPECT_THAT(all, HasSubstr(R"("retained":false)"));
  EXPECT_THAT(ask(Method::kGet, "/api/v1/failed/expired?reason=retry_window").body,
              Not(HasSubstr("max_backlog_age")));
  EXPECT_EQ(ask(Method::kPost, "/api/v1/failed/expired/requeue?destination=saas").body,
            R"({"requeued":9,"gone":10})");
  ASSERT_EQ(store_.requeued_ranges.size(), 1u);
  EXPECT_EQ(store_.requeued_ranges[0].first, 60u);
}

TEST_F(ApiTest, ACsvCellNeverBecomesAFormula) {
  add_letter(1, "a", "http_400");
  store_.letters[1].event_name = "=HYPERLINK(\"http://evil\")";
  store_.letters[1].event_id = "+1";
  store_.letters[1].detail = "two\nlines";
  const FakeExchange& csv = ask(Method::kGet, "/api/v1/failed/export?format=csv");
  EXPECT_THAT(csv.content_type, HasSubstr("text/csv"));
  EXPECT_THAT(csv.body, HasSubstr("id,destination,seq,"));
  EXPECT_THAT(csv.body, HasSubstr(R"x("'=HYPERLINK(""http://evil"")")x"));
  EXPECT_THAT(csv.body, HasSubstr(R"("'+1")"));
  EXPECT_THAT(csv.body, HasSubstr("\"two\nlines\""));
  EXPECT_THAT(csv.body, HasSubstr(R"("{""name"":""bought""}")"));
  EXPECT_THAT(ask(Method::kGet, "/api/v1/failed/export?format=csv&after=1").body,
              Not(HasSubstr("destination")));  // the header comes once
  EXPECT_EQ(ask(Method::kGet, "/api/v1/failed/export?format=xml").status, 400);
}

TEST_F(ApiTest, TextForATerminalIsHarmless) {
  add_letter(1, "a", "http_400");
  store_.letters[1].event_name = "\x1b[2J";
  store_.letters[1].detail = "\xe2\x80\xae";
  const std::vector<http::Header> text = {{"Host", "localhost"}, {"Accept", "text/plain"}};
  for (const char* path : {"/api/v1/failed", "/api/v1/failed/1"}) {
    const std::string body = ask(Method::kGet, path, text).body;
    EXPECT_THAT(body, Not(HasSubstr("\x1b")));
    EXPECT_THAT(body, Not(HasSubstr("\xe2\x80\xae")));
  }
}

TEST_F(ApiTest, AReloadAnswersWhatChangedOrWhyNothingDid) {
  EXPECT_EQ(ask(Method::kPost, "/api/v1/reload").body, R"({"changed":["keys"]})");
  reload_works_ = false;
  const FakeExchange& refused = ask(Method::kPost, "/api/v1/reload");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("store.shards needs a restart"));
}

TEST_F(ApiTest, WhatFailedAnywhereCountsAsFailedEvenIfItWaitsElsewhere) {
  storage::LaneState down, picky;
  down.name = "down";
  picky.name = "picky";
  down.shards.resize(1);
  picky.shards.resize(1);
  picky.shards[0].frontier = 11;
  picky.counts.failed = 3;
  picky.counts.sent = 7;
  store_.lane_states = {down, picky};
  store_.shard.end = 11;
  store_.set_accepted(10);
  EXPECT_THAT(ask(Method::kGet, "/api/v1/live-counters").body,
              HasSubstr(R"({"pending":7,"sent":0,"failed":3,"accepted":10)"));
}

TEST_F(ApiTest, AMachinesOwnPageMayAskAndNoOther) {
  http::Request request;
  request.headers = {{"Host", "localhost:9090"}};
  EXPECT_TRUE(api().allows_origin(request, "http://localhost:9090"));
  EXPECT_TRUE(api().allows_origin(request, "https://localhost:9090")) << "behind a proxy with TLS";
  EXPECT_FALSE(api().allows_origin(request, "http://localhost:8080"));
  EXPECT_FALSE(api().allows_origin(request, "http://evil.example"));
  EXPECT_FALSE(api().allows_origin(request, "null"));
}

TEST_F(ApiTest, ASessionOpensWhatItsTokenOpensButChangesOnlyFromItsOwnPage) {
  api().apply({{"boss", std::string(kBossHash), "admin", {}, {}, {}}}, 0);
  const http::Header host{"Host", "edge:9090"};
  const http::Header origin{"Origin", "http://edge:9090"};
  EXPECT_EQ(ask(Method::kPost, "/api/v1/session", {host, {"Authorization", "Bearer boss"}}).status,
            403);
  const FakeExchange& signed_in =
      ask(Method::kPost, "/api/v1/session", {host, origin, {"Authorization", "Bearer boss"}});
  ASSERT_EQ(signed_in.status, 200) << signed_in.body;
  const std::string line = signed_in.headers.substr(signed_in.headers.find("weir_session"));
  const std::string cookie = line.substr(0, line.find(';'));
  EXPECT_EQ(ask(Method::kGet, "/api/v1/stats", {host, {"Cookie", cookie}}).status, 200);
  EXPECT_EQ(ask(Method::kPost, "/api/v1/reload", {host, {"Cookie", cookie}}).status, 403);
  EXPECT_EQ(ask(Method::kPost, "/api/v1/reload", {host, origin, {"Cookie", cookie}}).status, 200);
  EXPECT_EQ(ask(Method::kGet, "/api/v1/stats",
                {host, {"Cookie", cookie}, {"Authorization", "Bearer other"}})
                .status,
            401)
      << "a token that was sent counts";
  clock_.advance_ms(3'600'001);
  EXPECT_EQ(ask(Method::kGet, "/api/v1/stats", {host, {"Cookie", cookie}}).status, 401);
}

TEST_F(ApiTest, WithoutATokenNothingButHealthIsTold) {
  api().apply({{"ops", std::string(64, 'a'), "admin", {}, {}, {}}}, 0);
  const FakeExchange& refused = ask(Method::kGet, "/api/v1/stats");
  EXPECT_EQ(refused.status, 401);
  EXPECT_THAT(refused.headers, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_EQ(ask(Method::kGet, "/no/such/path").status, 401);
  EXPECT_EQ(ask(Method::kGet, "/livez").status, 200);
  EXPECT_EQ(ask(Method::kGet, "/").status, 200) << "the page, which holds no data";
}

TEST_F(ApiTest, AQuickQuestionDoesNotWaitForSlowOnes) {
  std::vector<std::unique_ptr<FakeExchange>> slow;
  std::lock_guard hold(store_.mutex);  // dead letters hang
  for (size_t i = 0; i < Worker::kMaxQueued + 1; ++i) {
    slow.push_back(std::make_unique<FakeExchange>());
    slow.back()->set(Method::kGet, "/api/v1/failed", {{"Host", "localhost"}});
    api().on_request(*slow.back());
  }
  FakeExchange live;
  live.set(Method::kGet, "/livez", {});
  api().on_request(live);
  EXPECT_EQ(live.status, 200);
  // The queue is bounded: one runs at most, the rest waits, what is too much is told so.
  FakeExchange too_much;
  too_much.set(Method::kGet, "/api/v1/failed", {{"Host", "localhost"}});
  api().on_request(too_much);
  EXPECT_EQ(too_much.status, 503);
  slow_ = std::move(slow);
}

TEST_F(ApiTest, AReplayOfADestinationGoesOverTheNumbersItsPlacesMean) {
  storage::LaneState lane;
  lane.name = "saas";
  lane.shards.resize(1);
  store_.lane_states = {lane};
  store_.shard.first = 1;
  store_.shard.end = 101;
  store_.received_ms = [](uint64_t number) { return static_cast<int64_t>(number) * 1'000; };
  const auto replay = [&](std::string_view name, std::string_view body) -> FakeExchange& {
    return ask_with(Method::kPost, "/api/v1/destinations/" + std::string(name) + "/replay", body);
  };
  EXPECT_EQ(replay("saas", R"({"from":"0-5","to":"0-20"})").body,
            R"({"replayed":7,"failed":2,"pending":1})");
  EXPECT_EQ(store_.replayed_lane, "saas");
  ASSERT_EQ(store_.replayed_ranges.size(), 1u);
  EXPECT_EQ(store_.replayed_ranges[0].first, 5u);
  EXPECT_EQ(store_.replayed_ranges[0].last, 19u);
  EXPECT_EQ(replay("saas", R"({"from":"1970-01-01T00:00:30Z"})").status, 200);
  EXPECT_EQ(store_.replayed_ranges[0].first, 30u);
  EXPECT_EQ(store_.replayed_ranges[0].last, 100u);
  EXPECT_EQ(replay("saas", "{}").status, 400);
  EXPECT_EQ(replay("saas", R"({"from":"7-1"})").status, 400);
  EXPECT_EQ(replay("saas", R"({"from":"soon"})").status, 400);
  EXPECT_EQ(replay("other", R"({"from":"earliest"})").status, 404);
  EXPECT_EQ(ask(Method::kPost, "/api/v1/destinations/saas/pause").status, 404);
  store_.lane_states[0].shards[0].ended = 50;
  EXPECT_EQ(replay("saas", R"({"from":"earliest"})").status, 404);
  store_.lane_states[0].shards[0].ended = 0;
  store_.lane_states[0].kind = storage::LaneKind::kConsumer;
  EXPECT_THAT(replay("saas", R"({"from":"earliest"})").body, HasSubstr("--consumer saas"));
}

TEST_F(ApiTest, AReplayOfWhatIsNoLongerOnDiskIsRefusedAndToldFromWhereItCanBegin) {
  storage::LaneState lane;
  lane.name = "saas";
  lane.shards.resize(1);
  store_.lane_states = {lane};
  store_.shard.first = 50;
  store_.shard.end = 101;
  store_.received_ms = [](uint64_t number) { return static_cast<int64_t>(number) * 1'000; };
  for (const char* from : {"0-49", "1970-01-01T00:00:49Z"}) {
    const FakeExchange& refused = ask_with(Method::kPost, "/api/v1/destinations/saas/replay",
                                           fmt::format(R"({{"from":"{}"}})", from));
    EXPECT_EQ(refused.status, 409);
    EXPECT_THAT(refused.body, HasSubstr("not_retained"));
    EXPECT_THAT(refused.body, HasSubstr("it can begin at 0-50"));
    EXPECT_THAT(refused.body, HasSubstr("1970-01-01T00:00:50"));
  }
  EXPECT_EQ(store_.replayed_lane, "");
  for (const char* from : {"0-50", "earliest", "1970-01-01T00:00:50Z", "latest"})
    EXPECT_EQ(ask_with(Method::kPost, "/api/v1/destinations/saas/replay",
                       fmt::format(R"({{"from":"{}"}})", from))
                  .status,
              200)
        << from;
}

TEST_F(ApiTest, ARemovedDestinationIsShownAsLongAsItLeftSomethingBehind) {
  storage::LaneState lane;
  lane.name = "gone";
  lane.shards.resize(1);
  lane.shards[0].frontier = 40;
  lane.shards[0].ended = 60;
  storage::LaneState done = lane;
  done.name = "done";
  done.shards[0].frontier = 60;
  store_.lane_states = {lane, done};
  store_.shard.first = 50;  // what lies below was deleted
  store_.shard.end = 101;
  store_.set_accepted(100);
  const std::string body = ask(Method::kGet, "/api/v1/live-counters").body;
  EXPECT_THAT(body, HasSubstr(R"("gone":{"pending":10,)"));
  EXPECT_THAT(body, HasSubstr(R"("state":"removed")"));
  EXPECT_THAT(body, Not(HasSubstr("\"done\"")));
  EXPECT_THAT(body, HasSubstr(R"({"pending":100,)"));  // nobody is there who would take them
  EXPECT_THAT(ask(Method::kGet, "/api/v1/stats?fresh=1").body,
              HasSubstr(R"("gone":{"pending":10,"sent":0,"failed":0,"state":"removed")"));
}

}  // namespace
}  // namespace weir::admin
