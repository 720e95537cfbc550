// GET /api/v1/top: the live counters as one screen of text, for `weir top`.
// Thread: any; no state.
#pragma once

#include <string>

#include "collector/admin/stats.h"

namespace weir::admin {

struct TopLatencies {
  Quantiles commit;
  Quantiles sync;
};
// At most `rows` lines of at most `columns` characters; what fits least important goes first.
std::string top_text(const Live& live, const NodeInfo& info, const TopLatencies& latencies,
                     size_t columns, size_t rows);

}  // namespace weir::admin
