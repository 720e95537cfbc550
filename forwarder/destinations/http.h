// An HTTP or HTTPS destination: libcurl's multi interface behind our own epoll set, so that the
// forwarder waits for any number of destinations at once. The only place that includes curl.
// Path: warm (per batch).  Thread: the forwarder's.
//
// Requests reuse connections; redirects are never followed (a POST with a signature and credentials
// does not go to an address nobody configured); answers are read up to a bound and kept up to a
// smaller one.
#pragma once

#include <memory>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace weir::forwarder {

struct HttpIdentity {
  std::string node;
  std::string store_id;
};

// Errors: a url that is not http or https, a TLS file that cannot be read, a header that is not
// one. LIFETIME: clock outlives the destination.
Result<std::unique_ptr<Destination>> make_http_destination(const DestinationOptions& options,
                                                           const HttpIdentity& identity,
                                                           const Clock& clock);

}  // namespace weir::forwarder
