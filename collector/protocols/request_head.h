// The headers and query parameters that protocols look at, read in one pass per request.
// Path: hot (per request).
#pragma once

#include <string_view>

#include "collector/http/exchange.h"

namespace weir::protocols {

// LIFETIME: views into the request.
struct RequestHead {
  http::Method method = http::Method::kOther;
  std::string_view path;
  std::string_view query;
  std::string_view authorization;
  std::string_view write_key;  // X-Write-Key
  std::string_view origin;
  std::string_view idempotency_key;
  std::string_view user_agent;
  std::string_view content_type;
  std::string_view content_length;
  std::string_view host;
  std::string_view client_ip;
  bool forwarded = false;  // some forwarding header was sent
};

RequestHead read_head(const http::Request& request);

// True for values like "1" and "true" of a flag in a query.
bool query_flag(std::string_view query, std::string_view name);

}  // namespace weir::protocols
