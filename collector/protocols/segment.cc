#include "collector/protocols/segment.h"

#include <charconv>

#include "collector/http/base64.h"
#include "collector/http/query.h"
#include "collector/protocols/canonical.h"
#include "collector/protocols/native.h"
#include "storage/base/json_text.h"

namespace weir::protocols {
namespace {

using event::Field;
using event::Scope;
using event::Word;

// kBatch, or the type that a path of one event stands for.
enum Variant : uint8_t { kBatch, kTrack, kPage, kScreen, kIdentify, kGroup, kAlias, kMerge };
constexpr std::string_view kTypes[] = {"",         "track", "page",  "screen",
                                       "identify", "group", "alias", "merge"};
enum Info : uint8_t { kSettings, kSourceConfig };

constexpr auto kPost = http::Method::kPost;
constexpr auto kBody = Route::Use::kBody;
constexpr Route kRoutes[] = {
    {"/v1/batch", kPost, kBody, kBatch},
    {"/v1/b", kPost, kBody, kBatch},
    {"/v1/import", kPost, kBody, kBatch},
    {"/beacon/v1/batch", kPost, kBody, kBatch},
    {"/v1/track", kPost, kBody, kTrack},
    {"/v1/t", kPost, kBody, kTrack},
    {"/v1/page", kPost, kBody, kPage},
    {"/v1/p", kPost, kBody, kPage},
    {"/v1/screen", kPost, kBody, kScreen},
    {"/v1/s", kPost, kBody, kScreen},
    {"/v1/identify", kPost, kBody, kIdentify},
    {"/v1/i", kPost, kBody, kIdentify},
    {"/v1/group", kPost, kBody, kGroup},
    {"/v1/g", kPost, kBody, kGroup},
    {"/v1/alias", kPost, kBody, kAlias},
    {"/v1/a", kPost, kBody, kAlias},
    {"/v1/merge", kPost, kBody, kMerge},
    {"/v1/projects/*", http::Method::kGet, Route::Use::kInfo, kSettings},
    {"/sourceConfig", http::Method::kGet, Route::Use::kInfo, kSourceConfig},
    {"/sourceConfig/", http::Method::kGet, Route::Use::kInfo, kSourceConfig},
};

constexpr std::string_view kCacheADay = "Cache-Control: public, max-age=86400\r\n";

http::Response not_found(std::string& text) {
  http::Response response;
  response.status = 404;
  text = http::error_body("not_found", "there is nothing at this path");
  response.body = text;
  return response;
}

// What analytics.js asks for before it sends anything: GET /v1/projects/<write key>/settings. The
// smallest answer it accepts: events go to this host.
http::Response settings(const RequestHead& head, std::string& text) {
  constexpr std::string_view kPrefix = "/v1/projects/";
  constexpr std::string_view kSuffix = "/settings";
  std::string_view key = head.path.substr(kPrefix.size());
  if (key.size() <= kSuffix.size() || key.substr(key.size() - kSuffix.size()) != kSuffix)
    return not_found(text);
  key.remove_suffix(kSuffix.size());
  if (key.find('/') != std::string_view::npos) return not_found(text);
  text = R"({"integrations":{"Segment.io":{"apiKey":)";
  append_json_string(text, http::percent_decode(key));
  if (!head.host.empty()) {
    text += ",\"apiHost\":";
    append_json_string(text, std::string(head.host) + "/v1");
  }
  text +=
      R"(,"versionSettings":{"version":"4.4.7","componentTypes":["browser"]}}},)"
      R"("plan":{"track":{"__default":{"enabled":true}},"identify":{"__default":{"enabled":true}},)"
      R"("group":{"__default":{"enabled":true}}},"analyticsNextEnabled":true})";
  http::Response response;
  response.extra_headers = kCacheADay;
  response.body = text;
  return response;
}

// What Rudder's browser SDK asks for: GET /sourceConfig/?writeKey=… (or Basic).
http::Response source_config(const RequestHead& head, std::string& text) {
  std::string key = http::query_value(head.query, "writeKey");
  http::BasicCredentials credentials;
  if (http::parse_basic_auth(head.authorization, credentials)) key = credentials.user;
  text = R"({"source":{"id":"weir","name":"weir","writeKey":)";
  append_json_string(text, key);
  text +=
      R"(,"enabled":true,"workspaceId":"weir","connections":[],"destinations":[],)"
      R"("config":{"statsCollection":{"errors":{"enabled":false},"metrics":{"enabled":false}}},)"
      R"("dataplanes":{}},"updatedAt":"2020-01-01T00:00:00.000Z"})";
  http::Response response;
  response.extra_headers = "Cache-Control: no-cache\r\n";
  response.body = text;
  return response;
}

std::string_view top_text(const EventInput& input, Word word) {
  return find_text_in(input, Scope::kTop, event::word_bit(word));
}

// url and referrer of a page stand in properties (page calls) or in context.page (all of them).
std::string_view page_text(const EventInput& input, Field field) {
  const uint64_t words = event::field_words(field);
  const std::string_view text = find_text_in(input, Scope::kProperties, words);
  return text.empty() ? find_text_in(input, Scope::kPage, words) : text;
}

class Segment final : public Adapter {
 public:
  std::string_view name() const override { return "segment"; }
  std::span<const Route> routes() const override { return kRoutes; }

  // JSON whatever the content type: browsers send text/plain, Rudder's node SDK a form's type.
  event::BodyPlan plan(const RequestHead&, uint8_t variant) const override {
    event::BodyPlan plan;
    plan.kind =
        variant == kBatch ? event::BodyPlan::Kind::kWrapper : event::BodyPlan::Kind::kOneObject;
    plan.batch = "batch";
    return plan;
  }

  // Oversize is 400 in Segment's contract: clients drop such a batch instead of retrying it.
  std::optional<http::HttpError> check_head(const RequestHead& head,
                                            uint64_t max_body_bytes) const override {
    uint64_t length = 0;
    const char* const end = head.content_length.data() + head.content_length.size();
    const auto read = std::from_chars(head.content_length.data(), end, length);
    if (read.ec != std::errc() || max_body_bytes == 0 || length <= max_body_bytes)
      return std::nullopt;
    http::HttpError error;
    error.code = "batch_too_large";
    error.message = "the batch is larger than " + std::to_string(max_body_bytes) + " bytes";
    return error;
  }

  http::HttpError body_error(const event::BodyReader& reader) const override {
    http::HttpError error = Adapter::body_error(reader);
    if (error.status == 413) {
      error.status = 400;
      error.code = reader.error().kind == event::BodyError::Kind::kEventTooLarge
                       ? std::string_view("message_too_large")
                       : std::string_view("batch_too_large");
    }
    return error;
  }

  std::string_view read_event(const EventInput& input, EventFields& fields) const override {
    read_canonical(input, fields);
    std::string_view type = top_text(input, Word::kType);
    if (type.empty()) type = kTypes[input.variant];
    const std::string_view tracked = top_text(input, Word::kEvent);
    if (type.empty() && !tracked.empty()) type = "track";
    if (type.empty()) return "missing_type";
    if (type == "track") {
      if (tracked.empty()) return "missing_event";
      fields.name = tracked;
    } else {
      // "page", "identify", …: what a page is called stays in raw.
      fields.name = type;
    }
    // The caller's id beats a member "id" that some custom event has.
    const std::string_view message = top_text(input, Word::kMessageId);
    fields.id = message;
    fields.user_id = top_text(input, Word::kUserId);
    fields.anonymous_id = top_text(input, Word::kAnonymousId);
    if (fields.session_id.empty())
      fields.session_id =
          find_text_in(input, Scope::kContext, event::field_words(Field::kSessionId));
    if (fields.user_id.empty() && fields.anonymous_id.empty() &&
        top_text(input, Word::kPreviousId).empty())
      return "no_user_anon_id";
    if (fields.url.empty()) fields.url = page_text(input, Field::kUrl);
    if (fields.referrer.empty()) fields.referrer = page_text(input, Field::kReferrer);
    if (fields.timestamp_ms == 0)
      fields.timestamp_ms = parse_time(top_text(input, Word::kOriginalTimestamp));
    return {};
  }

  http::Response answer(const Outcome& outcome, std::string& text) const override {
    http::Response response;
    response.extra_headers = outcome.received_only ? kAckReceived : kAckCommitted;
    if (outcome.rejected == 0) {
      response.body = R"({"success":true})";
      return response;
    }
    if (outcome.all_rejected()) {
      const EventResult& first = outcome.results.front();
      response.status = 400;
      response.extra_headers = {};
      text = http::error_body(first.reason, "every event was rejected; the first because of " +
                                                std::string(first.reason));
    } else {
      text = "{\"success\":true}";
    }
    text.back() = ',';
    text += "\"rejected\":" + std::to_string(outcome.rejected) + ",\"results\":";
    append_results(text, outcome.results);
    text += '}';
    response.body = text;
    return response;
  }

  http::Response info(const RequestHead& head, uint8_t variant, std::string& text) const override {
    return variant == kSettings ? settings(head, text) : source_config(head, text);
  }
};

}  // namespace

const Adapter& segment_adapter() {
  static const Segment adapter;
  return adapter;
}

}  // namespace weir::protocols
