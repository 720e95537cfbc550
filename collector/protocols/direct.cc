#include "collector/protocols/direct.h"

#include "collector/protocols/canonical.h"
#include "collector/protocols/native.h"
#include "storage/base/json_text.h"

namespace weir::protocols {
namespace {

enum Variant : uint8_t { kOne, kBatch };
constexpr Route kRoutes[] = {
    {"/api/analytics/event", http::Method::kPost, Route::Use::kBody, kOne},
    {"/api/analytics/events", http::Method::kPost, Route::Use::kBody, kBatch},
};

constexpr uint64_t kSessionWords = event::field_words(event::Field::kSessionId);
constexpr std::string_view kSessionRequired = "session_required";
constexpr std::string_view kEventRequired = "event_required";

// The value of a wrapper's member that is a non-empty string or a number; empty otherwise.
std::string_view scalar_text(const event::BodyReader::Member* member) {
  if (member == nullptr) return {};
  std::string_view text = member->value;
  if (text.front() == '"') return text.substr(1, text.size() - 2);
  const bool number = text.front() == '-' || (text.front() >= '0' && text.front() <= '9');
  return number ? text : std::string_view{};
}

http::HttpError error(std::string_view code, std::string_view message) {
  http::HttpError error;
  error.code = code;
  error.message = message;
  return error;
}

class Direct final : public Adapter {
 public:
  std::string_view name() const override { return "direct"; }
  std::span<const Route> routes() const override { return kRoutes; }
  bool bearer_is_key() const override { return false; }

  event::BodyPlan plan(const RequestHead&, uint8_t variant) const override {
    event::BodyPlan plan;
    plan.kind = event::BodyPlan::Kind::kWrapper;
    plan.batch = variant == kOne ? "event" : "events";
    plan.batch_is_event = variant == kOne;
    return plan;
  }

  std::optional<http::HttpError> check_wrapper(const event::BodyReader& reader) const override {
    if (scalar_text(reader.member(kSessionWords)).empty())
      return error(kSessionRequired, "Session ID is required");
    return std::nullopt;
  }

  http::HttpError body_error(const event::BodyReader& reader) const override {
    using Kind = event::BodyError::Kind;
    switch (reader.error().kind) {
      case Kind::kEmpty:
      case Kind::kNotAnObject:
        return error(kSessionRequired, "Session ID is required");
      case Kind::kMissingBatch:
        if (auto session = check_wrapper(reader)) return *session;
        return error(kEventRequired, "Valid event object is required");
      default:
        return Adapter::body_error(reader);
    }
  }

  // The two errors clients compare with are exactly as promised; the others say more.
  std::string shape_error(const http::HttpError& error) const override {
    if (error.code != kSessionRequired && error.code != kEventRequired)
      return Adapter::shape_error(error);
    std::string text = "{\"success\":false,\"message\":";
    append_json_string(text, error.message);
    text += '}';
    return text;
  }

  std::string_view read_event(const EventInput& input, EventFields& fields) const override {
    read_canonical(input, fields);
    // The session of the request beats whatever the event object says; the user is only who the
    // token proves.
    fields.session_id =
        event::decode_string(scalar_text(input.reader.member(kSessionWords)), input.arena);
    fields.user_id = input.user_id;
    // A valid event object need not have a name here.
    if (fields.name.empty()) fields.name = "event";
    return {};
  }

  http::Response answer(const Outcome& outcome, std::string& text) const override {
    http::Response response;
    const uint64_t processed = outcome.accepted + outcome.duplicates;
    if (outcome.all_rejected()) {
      response.status = 400;
      text = "{\"success\":false,\"code\":";
      const EventResult& first = outcome.results.front();
      append_json_string(text, first.reason);
      text += ",\"message\":";
      append_json_string(text, "Event rejected: " + std::string(first.reason));
      text += ",\"eventProcessed\":0";
    } else if (processed == 1 && outcome.rejected == 0 && !outcome.received_only) {
      response.extra_headers = kAckCommitted;
      response.body = R"({"success":true,"eventProcessed":1,"message":"Event saved successfully"})";
      return response;
    } else {
      response.status = outcome.received_only ? 202 : 200;
      response.extra_headers = outcome.received_only ? kAckReceived : kAckCommitted;
      text = "{\"success\":true,\"eventProcessed\":" + std::to_string(processed);
      text += processed == 1 ? ",\"message\":\"Event saved successfully\""
                             : ",\"message\":\"Events saved successfully\"";
    }
    if (outcome.rejected > 0) {
      text += ",\"rejected\":" + std::to_string(outcome.rejected) + ",\"results\":";
      append_results(text, outcome.results);
    }
    text += '}';
    response.body = text;
    return response;
  }
};

}  // namespace

const Adapter& direct_adapter() {
  static const Direct adapter;
  return adapter;
}

}  // namespace weir::protocols
