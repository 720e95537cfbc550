#include "storage/append.h"

namespace weir::storage {

std::string_view refusal_name(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "none";
    case Refusal::kDiskFull:
      return "disk_full";
    case Refusal::kStoreFull:
      return "store_full";
    case Refusal::kBacklogFull:
      return "backlog_full";
    case Refusal::kSyncFailed:
      return "sync_failed";
    case Refusal::kSyncStalled:
      return "sync_stalled";
    case Refusal::kQueueFull:
      return "queue_full";
    case Refusal::kStopping:
      return "stopping";
    case Refusal::kDraining:
      return "draining";
  }
  return "unknown";
}

}  // namespace weir::storage
