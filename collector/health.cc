#include "collector/health.h"

#include "storage/base/json_text.h"

namespace weir {

bool is_health_path(std::string_view path) {
  return path == "/health" || path == "/livez" || path == "/readyz";
}

bool answer_health(http::Exchange& exchange, const storage::Store& store, Acknowledger& ack,
                   int retry_after_seconds) {
  const http::Request& request = exchange.request();
  if (!is_health_path(request.path)) return false;
  if (request.method != http::Method::kGet && request.method != http::Method::kHead) {
    ack.error(exchange, nullptr,
              {405, "method_not_allowed", "this path does not serve the method", 0, false},
              "Allow: GET, HEAD, OPTIONS\r\n");
    return true;
  }
  http::Response response;
  response.body = R"({"status":"ok"})";
  const storage::Refusal refusal = store.admission();
  if (request.path == "/readyz" && refusal != storage::Refusal::kNone) {
    std::string& text = ack.scratch();
    text = "{\"status\":\"unavailable\",\"reason\":";
    append_json_string(text, storage::refusal_name(refusal));
    text += ",\"detail\":";
    append_json_string(text, store.admission_detail());
    text += '}';
    response.status = 503;
    response.retry_after_seconds = retry_after_seconds;
    response.body = text;
  }
  ack.answer(exchange, nullptr, response);
  return true;
}

}  // namespace weir
