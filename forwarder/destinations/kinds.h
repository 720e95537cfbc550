// The kinds of destination there are: `type` of [[destinations]] -> what makes one.
// Thread: start-up.
#pragma once

#include <memory>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace weir::forwarder {

// Errors: an unknown type, options that cannot work. A receiver that is away is no error.
// LIFETIME: clock outlives the destination.
Result<std::unique_ptr<Destination>> make_destination(const DestinationOptions& options,
                                                      const Identity& identity, const Clock& clock);

}  // namespace weir::forwarder
