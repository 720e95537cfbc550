// Cross-origin requests (WHATWG Fetch, "CORS protocol"). Which origin may do what is the handler's
// decision (Handler::allows_origin); this renders it. The origin is echoed, never "*", because
// several SDKs send credentials; the requested headers are echoed, because retry headers of SDKs
// change from attempt to attempt.
// Path: warm (requests from browsers).  Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "collector/http/exchange.h"

namespace weir::http {

// Printable ASCII without spaces: the only thing that may be echoed.
bool is_echoable_origin(std::string_view origin);

// For the answer to an actual request.
void append_cors_headers(std::string& out, std::string_view origin);

// An OPTIONS request that asks for permission (has Access-Control-Request-Method).
bool is_preflight(const Request& request);
// Header lines that grant it. REQUIRES: is_preflight(request).
void append_preflight_headers(std::string& out, const Request& request);

constexpr std::string_view kAllowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

}  // namespace weir::http
