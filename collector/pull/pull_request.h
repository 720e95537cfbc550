// What a request to /pull/v1/… asks for: path, body and headers into a PullCall.
// Path: warm (per request of a pulling server).  Thread: any; no state.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "collector/http/exchange.h"
#include "forwarder/leases.h"
#include "storage/base/result.h"

namespace weir::pull {

// The table of paths: /pull/v1/{consumer} with a method, and what behind it.
struct Operation {
  http::Method method;
  std::string_view behind;  // "/lease"
  forwarder::PullKind kind;
};
std::span<const Operation> operations();

// A path and method of the pull interface; nothing when there is no such path. known: the path
// exists, for another method.
std::optional<forwarder::PullKind> find_operation(http::Method method, std::string_view path,
                                                  std::string* consumer, bool* known);

// Fills in what the request asks for. Errors are the client's, in words. Values beyond a bound are
// not errors: they are cut to it by the leases.
Status read_request(const http::Request& request, forwarder::PullCall& call);

// What Accept-Encoding allows, the best first: zstd, gzip, none.
forwarder::Compression accepted_compression(std::string_view accept_encoding);

}  // namespace weir::pull
