// Who the client really is: the PROXY protocol in front of a connection, and Forwarded or
// X-Forwarded-For in front of a request. Only ever consulted for peers in trusted_proxies.
// Path: cold (per connection) and warm (per forwarded request).  Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "collector/http/exchange.h"
#include "collector/http/ip_ranges.h"

namespace weir::http {

enum class ProxyHeaderState : uint8_t { kIncomplete, kComplete, kInvalid };

struct ProxyHeader {
  size_t bytes = 0;          // length of the header
  bool has_address = false;  // false: LOCAL or UNKNOWN, the connection's own address counts
  IpAddress address;
};
// haproxy.org/download/2.9/doc/proxy-protocol.txt, version 1 (text) and 2 (binary). bytes: all that
// has arrived so far. A header longer than kMaxProxyHeaderBytes is invalid.
constexpr size_t kMaxProxyHeaderBytes = 4096;
ProxyHeaderState parse_proxy_header(std::string_view bytes, ProxyHeader& header);

// The rightmost address that is not itself a trusted proxy (RFC 7239 section 4, or the de facto
// X-Forwarded-For list). X-Forwarded-For wins when both are present, because proxies that append to
// it pass a client's Forwarded on unchanged. An entry that is not an address ends the walk. False:
// neither header names one; the peer itself is the client then.
bool forwarded_client(const Request& request, const IpRanges& trusted, IpAddress& client);

}  // namespace weir::http
