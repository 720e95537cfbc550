#include "collector/http/cors.h"

#include "collector/http/head_scanner.h"

namespace weir::http {

bool is_echoable_origin(std::string_view origin) {
  for (const char c : origin)
    if (c <= 0x20 || c >= 0x7f) return false;
  return !origin.empty();
}

void append_cors_headers(std::string& out, std::string_view origin) {
  out += "Access-Control-Allow-Origin: ";
  out += origin;
  out +=
      "\r\nVary: Origin\r\nAccess-Control-Allow-Credentials: true\r\n"
      "Access-Control-Expose-Headers: Retry-After, Weir-Ack\r\n";
}

bool is_preflight(const Request& request) {
  return request.method == Method::kOptions && request.has_header("access-control-request-method");
}

void append_preflight_headers(std::string& out, const Request& request) {
  const std::string_view method = request.header("access-control-request-method");
  out += "Access-Control-Allow-Methods: ";
  out += is_token(method) ? method : kAllowedMethods;
  out += "\r\n";
  if (const std::string_view headers = request.header("access-control-request-headers");
      !headers.empty()) {
    out += "Access-Control-Allow-Headers: ";
    out += headers;
    out += "\r\n";
  }
  // Browsers cap this themselves (Chromium two hours, Firefox a day).
  out += "Access-Control-Max-Age: 86400\r\n";
}

}  // namespace weir::http
