// The exact pending, sent and failed totals, by interval arithmetic over the positions of the
// lanes, the dead letters and the expired ranges. Costs one count per interval, not one per event.
// Path: cold (cached by the caller).  Thread: any.
#pragma once

#include "storage/base/result.h"
#include "storage/log_view.h"
#include "storage/state.h"
#include "storage/store.h"

namespace weir::storage {

// An event is failed if any lane failed it (a dead letter that was not sent since, an expired
// range), sent when every lane has finished it, else pending; with no lane it is pending.
// In lanes: pending is exact; sent and failed are the lane's own counts.
Result<FreshCounts> fresh_counts(const State& state, const LogView& log);

}  // namespace weir::storage
