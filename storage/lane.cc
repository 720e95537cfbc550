#include "storage/lane.h"

#include <algorithm>

namespace weir::storage {

uint64_t LaneShard::low() const {
  uint64_t lowest = frontier;
  for (const auto& [number, range] : open) lowest = std::min(lowest, range.first);
  return lowest;
}

uint64_t LaneShard::backlog_low() const {
  uint64_t lowest = frontier;
  // Batches that were cut from a requeued range say so with something behind it.
  for (const auto& [number, range] : open)
    if (!range.owner.starts_with(OpenRange::kRequeued)) lowest = std::min(lowest, range.first);
  return lowest;
}

}  // namespace weir::storage
