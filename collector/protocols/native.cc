#include "collector/protocols/native.h"

#include "collector/protocols/canonical.h"
#include "storage/base/json_text.h"

namespace weir::protocols {
namespace {

constexpr Route kRoutes[] = {
    {"/v1/events", http::Method::kPost, Route::Use::kBody, 0},
    {"/events", http::Method::kPost, Route::Use::kBody, 0},
};

// application/x-ndjson, application/ndjson, application/jsonl, application/json-lines …; the type
// is only believed when it says lines, since many clients send JSON under any name.
bool says_lines(std::string_view content_type) {
  return content_type.find("ndjson") != std::string_view::npos ||
         content_type.find("jsonl") != std::string_view::npos ||
         content_type.find("json-lines") != std::string_view::npos;
}

class Native final : public Adapter {
 public:
  std::string_view name() const override { return "native"; }
  bool reports_each_event() const override { return true; }
  std::span<const Route> routes() const override { return kRoutes; }

  event::BodyPlan plan(const RequestHead& head, uint8_t) const override {
    event::BodyPlan plan;
    plan.lines = says_lines(head.content_type);
    return plan;
  }

  std::string_view read_event(const EventInput& input, EventFields& fields) const override {
    read_canonical(input, fields);
    return fields.name.empty() ? "missing_name" : std::string_view{};
  }

  http::Response answer(const Outcome& outcome, std::string& text) const override {
    return native_answer(outcome, text);
  }
};

void append_number_member(std::string& text, std::string_view name, uint64_t value) {
  text += '"';
  text += name;
  text += "\":";
  text += std::to_string(value);
}

std::string_view status_name(EventResult::Status status) {
  switch (status) {
    case EventResult::Status::kAccepted:
      return "accepted";
    case EventResult::Status::kDuplicate:
      return "duplicate";
    case EventResult::Status::kRejected:
      break;
  }
  return "rejected";
}

}  // namespace

const Adapter& native_adapter() {
  static const Native adapter;
  return adapter;
}

void append_results(std::string& text, std::span<const EventResult> results) {
  text += '[';
  for (const EventResult& result : results) {
    if (text.back() != '[') text += ',';
    text += '{';
    append_number_member(text, "index", result.index);
    if (!result.id.empty()) {
      text += ",\"id\":";
      append_json_string(text, result.id);
    }
    text += ",\"status\":\"";
    text += status_name(result.status);
    text += '"';
    if (!result.reason.empty()) {
      text += ",\"reason\":";
      append_json_string(text, result.reason);
    }
    if (!result.detail.empty()) {
      text += ",\"detail\":";
      append_json_string(text, result.detail);
    }
    text += '}';
  }
  text += ']';
}

http::Response native_answer(const Outcome& outcome, std::string& text) {
  http::Response response;
  if (outcome.received_only) {
    text = "{";
    append_number_member(text, "received", outcome.accepted);
    if (outcome.rejected > 0) {
      text += ',';
      append_number_member(text, "rejected", outcome.rejected);
      text += ",\"results\":";
      append_results(text, outcome.results);
    }
    text += '}';
    response.status = 202;
    response.extra_headers = kAckReceived;
    response.body = text;
    return response;
  }
  response.extra_headers = kAckCommitted;
  // Nearly every answer to a single event.
  if (outcome.accepted == 1 && outcome.duplicates == 0 && outcome.rejected == 0 &&
      outcome.results.empty()) {
    response.body = R"({"accepted":1,"duplicates":0,"rejected":0,"results":[]})";
    return response;
  }
  if (outcome.all_rejected()) {
    response.status = 400;
    response.extra_headers = {};
  }
  text = "{";
  append_number_member(text, "accepted", outcome.accepted);
  text += ',';
  append_number_member(text, "duplicates", outcome.duplicates);
  text += ',';
  append_number_member(text, "rejected", outcome.rejected);
  text += ",\"results\":";
  append_results(text, outcome.results);
  text += '}';
  response.body = text;
  return response;
}

}  // namespace weir::protocols
