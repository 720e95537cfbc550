// Direct sending: POST /api/analytics/event {sessionId, event} and its batch form
// POST /api/analytics/events {sessionId, events:[…]}. A bearer is the user's token.
#pragma once

#include "collector/protocols/adapter.h"

namespace weir::protocols {
const Adapter& direct_adapter();
}  // namespace weir::protocols
