// Weir-Signature: proves to a receiver that a body comes from somebody who knows the shared key.
// Path: warm (per send).  Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::forwarder {

// "t=<unix>,v1=<hex>" where hex is HMAC-SHA256 (RFC 2104) under key of "<unix>.<body>". The body is
// what is sent: after compression. Empty when the library refuses (never seen; the send then fails
// at the receiver, visibly).
std::string make_signature(std::string_view key, int64_t unix_seconds, std::string_view body);

}  // namespace weir::forwarder
