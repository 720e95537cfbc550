#include "collector/health.h"

#include <algorithm>

#include "storage/base/json_text.h"

namespace weir {

std::span<const std::string_view> health_paths() {
  static constexpr std::string_view kPaths[] = {"/health", "/livez", "/readyz"};
  return kPaths;
}

bool is_health_path(std::string_view path) {
  const auto paths = health_paths();
  return std::find(paths.begin(), paths.end(), path) != paths.end();
}

bool answer_health(http::Exchange& exchange, const storage::Store& store, const SeenPressure& seen,
                   Acknowledger& ack, int retry_after_seconds) {
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
  const bool refuses = refusal != storage::Refusal::kNone;
  const bool pressed = seen.pressure.level != storage::PressureLevel::kNone;
  if (request.path == "/readyz" && (refuses || pressed)) {
    std::string& text = ack.scratch();
    text = "{\"status\":\"unavailable\",\"reason\":";
    append_json_string(
        text, refuses ? storage::refusal_name(refusal) : watermark_name(seen.pressure.cause));
    text += ",\"detail\":";
    append_json_string(text,
                       refuses ? store.admission_detail() : seen.gauge->detail(seen.pressure));
    text += '}';
    response.status = 503;
    response.retry_after_seconds = retry_after_seconds;
    response.body = text;
  }
  ack.answer(exchange, nullptr, response);
  return true;
}

}  // namespace weir
