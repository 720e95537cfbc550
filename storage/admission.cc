#include "storage/admission.h"

#include "storage/base/log.h"

namespace weir::storage {
namespace {

constexpr Refusal kByGravity[] = {Refusal::kSyncFailed,  Refusal::kStopping, Refusal::kSyncStalled,
                                  Refusal::kDraining,    Refusal::kDiskFull, Refusal::kStoreFull,
                                  Refusal::kBacklogFull, Refusal::kQueueFull};

}  // namespace

void Admission::set(Refusal refusal, const std::string& detail) {
  const std::lock_guard lock(mutex_);
  const bool already = has(refusal);
  std::string& kept = details_[static_cast<size_t>(refusal)];
  if (!already || refusal != Refusal::kSyncFailed) kept = detail;
  if (already) return;
  active_.fetch_or(bit(refusal), std::memory_order_relaxed);
  show();
  if (refusal == Refusal::kSyncFailed) {
    log::error("store_refusing", {{"reason", refusal_name(refusal)}, {"detail", detail}});
  } else if (refusal != Refusal::kStopping) {  // an orderly end is no warning, and told elsewhere
    log::warn("store_refusing", {{"reason", refusal_name(refusal)}, {"detail", detail}});
  }
}

void Admission::clear(Refusal refusal) {
  if (!has(refusal) || refusal == Refusal::kSyncFailed || refusal == Refusal::kStopping) return;
  const std::lock_guard lock(mutex_);
  if (!has(refusal)) return;
  active_.fetch_and(~bit(refusal), std::memory_order_relaxed);
  show();
  log::info("store_accepting_again", {{"after", refusal_name(refusal)}});
}

void Admission::show() {
  Refusal gravest = Refusal::kNone;
  for (const Refusal refusal : kByGravity) {
    if (!has(refusal)) continue;
    gravest = refusal;
    break;
  }
  shown_.store(gravest, std::memory_order_relaxed);
}

std::string Admission::detail() const {
  const std::lock_guard lock(mutex_);
  return details_[static_cast<size_t>(current())];
}

}  // namespace weir::storage
