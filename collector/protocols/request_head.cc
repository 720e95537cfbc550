#include "collector/protocols/request_head.h"

#include "collector/http/query.h"

namespace weir::protocols {

RequestHead read_head(const http::Request& request) {
  RequestHead head;
  head.method = request.method;
  head.path = request.path;
  head.query = request.query;
  head.client_ip = request.client_ip;
  head.forwarded = request.forwarding_header_present;
  const auto take = [](const http::Header& header, std::string_view name, std::string_view& to) {
    if (to.empty() && http::header_is(header.name, name)) to = header.value;
  };
  for (const http::Header& header : request.headers) {
    switch (header.name.size()) {
      case 4:
        take(header, "host", head.host);
        break;
      case 6:
        take(header, "origin", head.origin);
        break;
      case 10:
        take(header, "user-agent", head.user_agent);
        break;
      case 11:
        take(header, "x-write-key", head.write_key);
        break;
      case 12:
        take(header, "content-type", head.content_type);
        break;
      case 13:
        take(header, "authorization", head.authorization);
        break;
      case 14:
        take(header, "content-length", head.content_length);
        break;
      case 15:
        take(header, "idempotency-key", head.idempotency_key);
        break;
      default:
        break;
    }
  }
  return head;
}

bool query_flag(std::string_view query, std::string_view name) {
  if (query.empty()) return false;
  const auto value = http::raw_query_value(query, name);
  return value && (*value == "1" || *value == "true" || *value == "yes");
}

}  // namespace weir::protocols
