// GET /health, /livez and /readyz of the ingest listener.
// Path: cold.  Thread: the loop's.
#pragma once

#include <string_view>

#include "collector/ack.h"
#include "collector/http/exchange.h"
#include "storage/store.h"

namespace weir {

bool is_health_path(std::string_view path);

// Answers when the path is one of them. /readyz is 200 only when the next commit can succeed, and
// says why when it cannot.
bool answer_health(http::Exchange& exchange, const storage::Store& store, Acknowledger& ack,
                   int retry_after_seconds);

}  // namespace weir
