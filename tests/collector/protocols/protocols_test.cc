// Protocol tables: a request goes in, canonical fields and the answer come out. The requests under
// tests/vectors/requests are what real SDKs sent, recorded and reduced.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "collector/protocols/canonical.h"
#include "collector/protocols/router.h"
#include "storage/base/clock.h"
#include "tests/collector/pipeline_fixture.h"

namespace weir {
namespace {

using ::testing::HasSubstr;

constexpr auto kGet = http::Method::kGet;

struct RecordedRequest {
  std::string target;
  Headers headers;
  std::string body;
};

// "POST <target>", header lines, an empty line, the body.
RecordedRequest recorded(const std::string& name) {
  std::ifstream file(std::string(WEIR_VECTORS) + "/requests/" + name + ".http", std::ios::binary);
  EXPECT_TRUE(file.is_open()) << name;
  RecordedRequest request;
  std::string line;
  std::getline(file, line);
  request.target = line.substr(line.find(' ') + 1);
  while (std::getline(file, line) && !line.empty()) {
    const size_t colon = line.find(": ");
    request.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  std::ostringstream rest;
  rest << file.rdbuf();
  request.body = rest.str();
  return request;
}

std::vector<event::KeyOptions> test_key() {
  event::KeyOptions key;
  key.key = "wk_test";
  key.tenant = "acme";
  key.shop = "shop_of_key";
  return {key};
}

class ProtocolTest : public PipelineTest {
 protected:
  void SetUp() override { start(test_key()); }
  Answer replay(const std::string& name) {
    const RecordedRequest request = recorded(name);
    return post_and_commit(request.target, request.body, request.headers);
  }
};

// ---- native

TEST_F(ProtocolTest, NativeReadsEveryFieldUnderEachOfItsNames) {
  struct Case {
    const char* member;
    std::string_view EventFields::*field;
  };
  const Case cases[] = {
      {"id", &EventFields::id},
      {"messageId", &EventFields::id},
      {"message_id", &EventFields::id},
      {"eventId", &EventFields::id},
      {"event_id", &EventFields::id},
      {"name", &EventFields::name},
      {"eventName", &EventFields::name},
      {"event_name", &EventFields::name},
      {"event", &EventFields::name},
      {"eventType", &EventFields::name},
      {"event_type", &EventFields::name},
      {"type", &EventFields::name},
      {"sessionId", &EventFields::session_id},
      {"session_id", &EventFields::session_id},
      {"userId", &EventFields::user_id},
      {"user_id", &EventFields::user_id},
      {"anonymousId", &EventFields::anonymous_id},
      {"anonymous_id", &EventFields::anonymous_id},
      {"shopId", &EventFields::shop_id},
      {"shop_id", &EventFields::shop_id},
      {"locationId", &EventFields::location_id},
      {"location_id", &EventFields::location_id},
      {"url", &EventFields::url},
      {"referrer", &EventFields::referrer},
      {"campaign_id", &EventFields::campaign_id},
      {"campaignId", &EventFields::campaign_id},
      {"tracking_id", &EventFields::tracking_id},
      {"trackingId", &EventFields::tracking_id},
      {"variant", &EventFields::variant},
  };
  for (const Case& c : cases) {
    std::string event = std::string("{\"") + c.member + R"(":"v\u00e4l","writeKey":"wk_test")";
    if (c.field != &EventFields::name) event += R"(,"name":"n")";
    const size_t before = store_->events.size();
    EXPECT_EQ(post_and_commit("/v1/events", event + "}").status, 200) << c.member;
    // The second of two ids with one value is a duplicate: look at the first event with it.
    const size_t at = store_->events.size() > before ? before : 0;
    EXPECT_EQ(stored(at).*c.field, "v\xc3\xa4l") << c.member;
    EXPECT_EQ(stored(at).source, "native");
    EXPECT_EQ(stored(at).tenant, "acme");
  }
}

TEST_F(ProtocolTest, NativeReadsTimesAndPriorities) {
  struct Case {
    const char* value;
    int64_t ms;
  };
  const Case times[] = {
      {R"("2026-11-20T21:00:00.123Z")", 1795208400123},
      {R"("2026-11-20T22:00:00+01:00")", 1795208400000},
      {"1795208400123", 1795208400123},
      {"1795208400123.75", 1795208400123},
      {R"("1795208400123")", 1795208400123},
      {"1.795208400123e12", 1795208400123},
      {"-5", 0},
      {"1e999", 0},
      {"123456789012345678901234567890", 0},
      {R"("yesterday")", 0},
      {"{}", 0},
      {"null", 0},
      {"true", 0},
  };
  size_t i = 0;
  for (const Case& c : times) {
    post_and_commit("/v1/events?key=wk_test",
                    std::string(R"({"name":"n","timestamp":)") + c.value + "}");
    EXPECT_EQ(stored(i++).timestamp_ms, c.ms) << c.value;
  }
  for (const auto& [text, number] :
       {std::pair("high", 2), std::pair("normal", 1), std::pair("low", 0), std::pair("odd", 1)}) {
    post_and_commit("/v1/events?key=wk_test",
                    std::string(R"({"name":"n","priority":")") + text + "\"}");
    EXPECT_EQ(stored(i++).priority, number) << text;
  }
}

TEST_F(ProtocolTest, TheShopsPathIsNative) {
  const Answer answer = post_and_commit(
      "/events",
      R"({"apiKey":"wk_test","shopId":"shop_123","eventName":"product_viewed","data":{"url":"/p/1"}})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body, HasSubstr(R"("accepted":1)"));
  EXPECT_EQ(stored(0).name, "product_viewed");
  EXPECT_EQ(stored(0).shop_id, "shop_123");
  EXPECT_EQ(stored(0).url, "/p/1");
  post_and_commit("/events", R"({"apiKey":"wk_test","eventName":"x"})");
  EXPECT_EQ(stored(1).shop_id, "shop_of_key");
}

TEST_F(ProtocolTest, ABrowsersBeaconIsNative) {
  start({});
  const RecordedRequest request = recorded("browser_beacon");
  EXPECT_EQ(replay("browser_beacon").status, 200);
  EXPECT_EQ(stored(0).raw, request.body);
  EXPECT_EQ(stored(0).name, "page_viewed");
}

// ---- direct

TEST_F(ProtocolTest, DirectAnswersAsPromised) {
  start({});
  const Answer ok = post_and_commit("/api/analytics/event",
                                    R"({"sessionId":"s-1","event":{"type":"click","id":"e1"}})");
  EXPECT_EQ(ok.status, 200);
  EXPECT_EQ(ok.body, R"({"success":true,"eventProcessed":1,"message":"Event saved successfully"})");
  EXPECT_EQ(stored(0).session_id, "s-1");
  EXPECT_EQ(stored(0).name, "click");
  EXPECT_EQ(stored(0).user_id, "");
  EXPECT_EQ(stored(0).raw, R"({"type":"click","id":"e1"})");
  EXPECT_EQ(stored(0).source, "direct");
  const Answer again = post_and_commit("/api/analytics/event",
                                       R"({"sessionId":"s-1","event":{"type":"click","id":"e1"}})");
  EXPECT_EQ(again.body, ok.body);
  EXPECT_EQ(store_->events.size(), 1u);

  const std::string session = R"({"success":false,"message":"Session ID is required"})";
  const std::string event = R"({"success":false,"message":"Valid event object is required"})";
  const std::pair<const char*, std::string> refusals[] = {
      {R"({"event":{"type":"x"}})", session},
      {R"({"sessionId":"","event":{"type":"x"}})", session},
      {R"({"sessionId":null,"event":{"type":"x"}})", session},
      {R"({"sessionId":{},"event":{"type":"x"}})", session},
      {"{}", session},
      {"[]", session},
      {"", session},
      {R"({"sessionId":"s"})", event},
      {R"({"sessionId":"s","event":null})", event},
      {R"({"sessionId":"s","event":"click"})", event},
      {R"({"sessionId":"s","event":[]})", event},
      {R"({"event":7})", session},
  };
  for (const auto& [body, answer_body] : refusals) {
    const Answer answer = post_and_commit("/api/analytics/event", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.body, answer_body) << body;
  }
  const Answer broken = post_and_commit("/api/analytics/event", R"({"sessionId":"s","event":{)");
  EXPECT_EQ(broken.status, 400);
  EXPECT_THAT(broken.body, HasSubstr(R"({"success":false,"code":"invalid_json","message":)"));
  EXPECT_EQ(store_->events.size(), 1u);
}

TEST_F(ProtocolTest, DirectTakesBatches) {
  start({});
  const Answer answer = post_and_commit(
      "/api/analytics/events", R"({"events":[{"name":"a"},{"name":"b"}],"sessionId":"s\u0031"})");
  EXPECT_EQ(answer.body,
            R"({"success":true,"eventProcessed":2,"message":"Events saved successfully"})");
  EXPECT_EQ(stored(1).session_id, "s1");
  EXPECT_EQ(stored(1).envelope, R"({"sessionId":"s\u0031"})");
  EXPECT_EQ(post_and_commit("/api/analytics/events", R"({"sessionId":"s","events":{}})").body,
            R"({"success":false,"message":"Valid event object is required"})");
  EXPECT_EQ(post_and_commit("/api/analytics/events", R"({"sessionId":"s","events":[]})").status,
            200);
}

TEST_F(ProtocolTest, DirectSaysWhyAnEventWasRejected) {
  auto keys = test_key();
  keys[0].require = {"campaign_id"};
  start(keys);
  const Answer answer = post_and_commit("/api/analytics/event?key=wk_test",
                                        R"({"sessionId":"s","event":{"name":"a"}})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr(R"({"success":false,"code":"missing_campaign_id",)"));
}

class OneTokenVerifier : public protocols::UserTokenVerifier {
 public:
  bool verify(std::string_view token, int64_t, std::string* user_id) const override {
    if (token != "good") return false;
    *user_id = "user-7";
    return true;
  }
};

TEST_F(ProtocolTest, ABearerOfDirectNamesTheUserAndIsNoKey) {
  const OneTokenVerifier verifier;
  tokens_ = &verifier;
  start({});
  const char* const body = R"({"sessionId":"s","event":{"name":"a","userId":"claimed"}})";
  post_and_commit("/api/analytics/event", body, {{"Authorization", "Bearer good"}});
  EXPECT_EQ(stored(0).user_id, "user-7");
  for (const Headers& headers :
       {Headers{{"Authorization", "Bearer bad"}}, Headers{}, Headers{{"Authorization", "x"}}}) {
    EXPECT_EQ(post_and_commit("/api/analytics/event", body, headers).status, 200);
    EXPECT_EQ(store_->events.back().fields.user_id, "");
  }
  tokens_ = nullptr;
}

// ---- pixel

TEST_F(ProtocolTest, APixelIsAnEventLikeAnyOther) {
  auto answer =
      send(kGet, "/v1/pixel.gif?name=page+view&key=wk_test&id=p1&url=https%3A%2F%2Fx%2F%C3%A9");
  commit();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->content_type, "image/gif");
  EXPECT_EQ(answer->body.size(), 43u);
  EXPECT_EQ(answer->body.substr(0, 6), "GIF89a");
  EXPECT_EQ(answer->body.back(), ';');
  EXPECT_THAT(answer->headers, HasSubstr("no-store"));
  EXPECT_EQ(stored(0).name, "page view");
  EXPECT_EQ(stored(0).url, "https://x/\xc3\xa9");
  EXPECT_EQ(stored(0).source, "pixel");
  EXPECT_EQ(stored(0).raw_encoding, RawEncoding::kText);
  EXPECT_EQ(stored(0).raw, "name=page+view&key=wk_test&id=p1&url=https%3A%2F%2Fx%2F%C3%A9");
  answer = send(kGet, "/v1/pixel.gif?name=page+view&key=wk_test&id=p1");
  commit();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(store_->events.size(), 1u) << "the same id";
  EXPECT_EQ(send(kGet, "/v1/pixel.gif?key=wk_test")->status, 400);
  EXPECT_EQ(send(kGet, "/v1/pixel.gif?name=x&key=nope")->status, 401);
  EXPECT_EQ(send(kGet, "/v1/pixel.gif?name=x")->status, 401);
}

// ---- Segment

TEST_F(ProtocolTest, UnmodifiedRequestsOfSegmentsFamilyAreStored) {
  struct Case {
    const char* request;
    size_t events;
    const char* first_name;
    const char* first_id;
  };
  const Case cases[] = {
      {"segment_node_batch", 5, "Button Clicked", "r1-segment-node-005"},
      {"segment_browser_track", 1, "Button Clicked", "r1-segment-browser-std-004"},
      {"segment_browser_page", 1, "page", "r1-segment-browser-std-000"},
      {"segment_browser_alias", 1, "alias", "r1-segment-browser-std-010"},
      {"segment_browser_batch", 4, "page", "r1-segment-browser-batch-000"},
      {"rudder_node_batch", 5, "page", "r1-rudder-node-001"},
      {"rudder_browser_page", 1, "page", "7953e819-fd5a-4e8b-b7c5-0f021ac7b2df"},
      {"rudder_browser_track", 1, "Order Completed", nullptr},
  };
  for (const Case& c : cases) {
    const size_t before = store_->events.size();
    const Answer answer = replay(c.request);
    EXPECT_EQ(answer.status, 200) << c.request;
    EXPECT_EQ(answer.body, R"({"success":true})") << c.request;
    ASSERT_EQ(store_->events.size(), before + c.events) << c.request;
    EXPECT_EQ(stored(before).name, c.first_name) << c.request;
    EXPECT_EQ(stored(before).source, "segment");
    EXPECT_EQ(stored(before).tenant, "acme");
    EXPECT_GT(stored(before).timestamp_ms, 1'700'000'000'000) << c.request;
    if (c.first_id != nullptr) {
      EXPECT_EQ(stored(before).id, c.first_id);
    }
    const std::string body = recorded(c.request).body;
    for (size_t i = before; i < store_->events.size(); ++i) {
      EXPECT_THAT(body, HasSubstr(std::string(stored(i).raw)));
      EXPECT_FALSE(stored(i).user_id.empty() && stored(i).anonymous_id.empty());
    }
    // What SDKs send again keeps its ids.
    EXPECT_EQ(replay(c.request).status, 200);
    EXPECT_EQ(store_->events.size(), before + c.events) << c.request;
  }
}

TEST_F(ProtocolTest, SegmentsPageCallCarriesItsPage) {
  replay("segment_browser_page");
  EXPECT_THAT(std::string(stored(0).url), HasSubstr("https://example.test/p?q=a%20b"));
  EXPECT_EQ(stored(0).envelope, "");
  replay("segment_browser_batch");
  EXPECT_THAT(std::string(stored(1).envelope), HasSubstr(R"({"sentAt":"2026-)"));
  EXPECT_THAT(std::string(stored(1).envelope), ::testing::Not(HasSubstr("wk_test")));
}

TEST_F(ProtocolTest, SegmentsPathsAndShortForms) {
  const std::pair<const char*, const char*> paths[] = {
      {"/v1/track", "Bought"},      {"/v1/t", "Bought"},
      {"/v1/page", "page"},         {"/v1/p", "page"},
      {"/v1/screen", "screen"},     {"/v1/s", "screen"},
      {"/v1/identify", "identify"}, {"/v1/i", "identify"},
      {"/v1/group", "group"},       {"/v1/g", "group"},
      {"/v1/alias", "alias"},       {"/v1/a", "alias"}};
  for (const auto& [path, name] : paths) {
    const Answer answer = post_and_commit(
        path, R"({"userId":"u","event":"Bought","writeKey":"wk_test","name":"Home"})");
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(store_->events.back().fields.name, name) << path;
  }
  for (const char* path :
       {"/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch?writeKey=wk_test"}) {
    const Answer answer = post_and_commit(
        path, R"({"batch":[{"type":"track","event":"E","anonymousId":"a"}],"writeKey":"wk_test"})");
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(store_->events.back().fields.name, "E") << path;
  }
}

TEST_F(ProtocolTest, SegmentRejectsWhatItsContractRejects) {
  const auto reason = [&](const char* event) {
    const Answer answer = post_and_commit(
        "/v1/batch", std::string(R"({"writeKey":"wk_test","batch":[)") + event + "]}");
    EXPECT_EQ(answer.status, 400);
    EXPECT_THAT(answer.body, HasSubstr("\"message\":")) << "some SDKs retry without it";
    const size_t at = answer.body.find("\"code\":\"") + 8;
    return answer.body.substr(at, answer.body.find('"', at) - at);
  };
  EXPECT_EQ(reason(R"({"type":"track","event":"E"})"), "no_user_anon_id");
  EXPECT_EQ(reason(R"({"type":"track","event":"E","userId":null,"anonymousId":""})"),
            "no_user_anon_id");
  EXPECT_EQ(reason(R"({"type":"track","userId":"u"})"), "missing_event");
  EXPECT_EQ(reason(R"({"userId":"u"})"), "missing_type");
  EXPECT_EQ(reason("7"), "not_an_object");
  const Answer partly = post_and_commit(
      "/v1/batch",
      R"({"writeKey":"wk_test","batch":[{"type":"track","event":"E","userId":7},{"userId":"u"}]})");
  EXPECT_EQ(partly.status, 200);
  EXPECT_THAT(partly.body, HasSubstr(R"({"success":true,"rejected":1,"results":[{"index":1,)"));
  EXPECT_EQ(store_->events.back().fields.user_id, "7");
  EXPECT_EQ(post_and_commit("/v1/batch", R"({"batch":[]})").status, 200);
  EXPECT_EQ(post_and_commit("/v1/batch?writeKey=wk_test", R"({"x":1})").status, 400);
}

TEST_F(ProtocolTest, SegmentsOversizeIs400) {
  PipelineOptions options;
  options.limits.event_bytes = 200;
  options.max_body_bytes = 1'000;
  start(test_key(), options);
  const std::string event =
      R"({"type":"track","event":"E","userId":"u","x":")" + std::string(300, 'x') + "\"}";
  const Answer answer =
      post_and_commit("/v1/batch?writeKey=wk_test", R"({"batch":[)" + event + "]}");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("message_too_large"));
  const http::HeadVerdict verdict =
      head(http::Method::kPost, "/v1/batch", {{"Content-Length", "1001"}});
  EXPECT_FALSE(verdict.accept);
  EXPECT_EQ(verdict.error.status, 400);
  EXPECT_EQ(verdict.error.code, "batch_too_large");
  EXPECT_TRUE(head(http::Method::kPost, "/v1/batch", {{"Content-Length", "1000"}}).accept);
}

TEST_F(ProtocolTest, ServesTheStartUpConfigurations) {
  auto answer = send(kGet, "/v1/projects/wk_test/settings", {}, {{"Host", "edge.example"}});
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body,
              HasSubstr(R"("Segment.io":{"apiKey":"wk_test","apiHost":"edge.example/v1")"));
  EXPECT_EQ(send(kGet, "/v1/projects/wk_test")->status, 404);
  EXPECT_EQ(send(kGet, "/v1/projects//settings")->status, 404);
  answer = send(kGet, "/sourceConfig/?p=npm&writeKey=wk_test");
  EXPECT_EQ(answer->status, 200);
  EXPECT_THAT(answer->body, HasSubstr(R"("writeKey":"wk_test")"));
}

TEST(Router, FindsEveryRouteOfEveryProtocol) {
  const protocols::Router router(protocols::all_adapters());
  for (const protocols::Adapter* adapter : protocols::all_adapters()) {
    for (const protocols::Route& route : adapter->routes()) {
      std::string path(route.path);
      if (path.back() == '*') path.replace(path.size() - 1, 1, "x/settings");
      const protocols::Target* target = router.find(path);
      ASSERT_NE(target, nullptr) << path;
      EXPECT_EQ(target->adapter, adapter) << path;
    }
  }
  EXPECT_EQ(router.find("/v1/event"), nullptr);
  EXPECT_EQ(router.find(""), nullptr);
}

}  // namespace
}  // namespace weir
