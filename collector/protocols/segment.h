// Segment's HTTP API, as the unmodified SDKs of Segment and RudderStack speak it.
#pragma once

#include "collector/protocols/adapter.h"

namespace weir::protocols {
const Adapter& segment_adapter();
}  // namespace weir::protocols
