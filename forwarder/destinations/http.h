// type = "http": a batch is one POST over http_client.h.
// Path: warm (per batch).  Thread: the forwarder's.
#pragma once

#include <memory>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace weir::forwarder {

// Errors: a url that is not http or https, a TLS file that cannot be read, a header that is not
// one. LIFETIME: clock outlives the destination.
Result<std::unique_ptr<Destination>> make_http_destination(const DestinationOptions& options,
                                                           const Identity& identity,
                                                           const Clock& clock);

}  // namespace weir::forwarder
