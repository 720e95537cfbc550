// GET /health, /livez and /readyz of the ingest listener.
// Path: cold.  Thread: the loop's.
#pragma once

#include <span>
#include <string_view>

#include "collector/ack.h"
#include "collector/http/exchange.h"
#include "collector/pressure.h"
#include "storage/store.h"

namespace weir {

std::span<const std::string_view> health_paths();
bool is_health_path(std::string_view path);

// The turn's pressure, and who can explain it; null: nobody looks.
struct SeenPressure {
  const PressureGauge* gauge = nullptr;
  storage::Pressure pressure;
};

// Answers when the path is one of them. /readyz is 200 only when the next commit can succeed and
// no watermark is reached, and says why when it is not.
bool answer_health(http::Exchange& exchange, const storage::Store& store, const SeenPressure& seen,
                   Acknowledger& ack, int retry_after_seconds);

}  // namespace weir
