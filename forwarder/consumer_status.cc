// What a consumer shows of itself: a part of Consumer.
#include <algorithm>
#include <set>

#include "forwarder/consumer.h"
#include "forwarder/limits.h"

namespace weir::forwarder {
namespace {

constexpr int64_t kMs = 1'000'000;

uint64_t width(const storage::OpenRange& range) { return range.last - range.first + 1; }

}  // namespace

LeaseCounts count_leases(const storage::LaneState& consumer, int64_t now_ms) {
  LeaseCounts counts;
  std::set<uint64_t> leases;
  for (const storage::LaneShard& shard : consumer.shards)
    for (const auto& [number, range] : shard.open) {
      const bool leased =
          range.state == storage::RangeState::kLeased && range.not_before_ms > now_ms;
      (leased ? counts.leased : counts.delayed) += width(range);
      if (range.attempts > (leased ? 1u : 0u)) counts.redelivered += width(range);
      if (leased) leases.insert(RangeOwner::parse(range.owner).lease);
    }
  counts.leases = leases.size();
  return counts;
}

uint64_t Consumer::unread() const {
  uint64_t unread = 0;
  for (size_t shard = 0; shard < cursors_.size(); ++shard) {
    const uint64_t end = around_.store.committed_end(static_cast<unsigned>(shard));
    if (end > cursors_[shard]) unread += end - cursors_[shard];
  }
  return unread;
}

uint64_t Consumer::backlog() const {
  uint64_t backlog = unread();
  for (const auto& [number, held] : ranges_)
    if (held.lease == 0) backlog += width(held.range);
  return backlog;
}

// Of what nobody has: the received time of the first event of each shard.
int64_t Consumer::backlog_oldest_seconds() const {
  std::vector<uint64_t> first = cursors_;
  for (const auto& [number, held] : ranges_)
    if (held.lease == 0)
      first[held.range.shard] = std::min(first[held.range.shard], held.range.first);
  int64_t oldest = 0;
  storage::ReadLimits limits;
  limits.max_events = 1;
  for (size_t shard = 0; shard < first.size(); ++shard) {
    if (first[shard] >= around_.store.committed_end(static_cast<unsigned>(shard))) continue;
    auto read = around_.store.read(static_cast<unsigned>(shard), first[shard], limits,
                                   [&](const storage::StoredEvent& event) {
                                     if (oldest == 0 || event.received_ms < oldest)
                                       oldest = event.received_ms;
                                     return false;
                                   });
    if (!read) continue;  // its age is only shown
  }
  return oldest == 0 ? 0 : std::max<int64_t>(around_.clock.wall_ms() - oldest, 0) / 1000;
}

int64_t Consumer::deadline_ns() const {
  const int64_t now = around_.clock.monotonic_ns();
  if (broken_ || stopped_) return marks_.empty() && !stopped_ ? pause_until_ns_ : INT64_MAX;
  const bool looks = look_ && marks_.empty() && ranges_.size() < options_.max_open_ranges;
  if (more_to_do_ || looks) return now;
  int64_t deadline = due_.empty() ? INT64_MAX : due_.begin()->first;
  for (const Waiter& waiter : waiters_) deadline = std::min(deadline, waiter.deadline_ns);
  if (pause_until_ns_ > now && (!waiters_.empty() || !exhausted_.empty()))
    deadline = std::min(deadline, pause_until_ns_);
  if (skipped_since_ns_ != 0)
    deadline = std::min(deadline, skipped_since_ns_ + kSkippedQuietMs * kMs);
  return deadline;
}

int64_t Consumer::idle_in_ms() const {
  if (!options_.temporary || options_.lane.max_idle_ms == 0 || !waiters_.empty()) return INT64_MAX;
  return std::max<int64_t>(active_ms_ + options_.lane.max_idle_ms - around_.clock.wall_ms(), 0);
}

ConsumerInfo Consumer::info() const {
  ConsumerInfo info;
  info.options = options_;
  info.declared = declared_;
  info.active_ms = active_ms_;
  info.idle = options_.lane.max_idle_ms > 0 && active_ms_ != 0 &&
              around_.clock.wall_ms() - active_ms_ > options_.lane.max_idle_ms;
  info.pending = unread();
  info.open_ranges = ranges_.size();
  info.waiting = waiters_.size();
  for (const auto& [number, held] : ranges_) {
    info.pending += width(held.range);
    (held.lease != 0 ? info.leased : info.delayed) += width(held.range);
  }
  for (size_t shard = 0; shard < cursors_.size(); ++shard)
    info.next.push_back({static_cast<uint16_t>(shard), cursors_[shard]});
  if (auto state = around_.store.lane(name())) info.counts = state->counts;
  info.oldest_pending_ms = around_.store.oldest_pending_ms(name());
  info.leases = leases_.size();
  const int64_t now = around_.clock.monotonic_ns();
  for (const auto& [number, lease] : leases_) {
    if (info.some_leases.size() >= kMaxLeasesShown) break;
    info.some_leases.push_back({around_.store.batch_id(number), lease.holder, lease.events,
                                lease.delivery,
                                around_.clock.wall_ms() + (lease.due_ns - now) / kMs});
  }
  return info;
}

void Consumer::publish() {
  Published now;
  now.leases = static_cast<int64_t>(leases_.size());
  for (const auto& [number, lease] : leases_)
    now.leased_events += static_cast<int64_t>(lease.events);
  now.open_ranges = static_cast<int64_t>(ranges_.size());
  now.waiting = static_cast<int64_t>(waiters_.size());
  cells_.leases.add(now.leases - published_.leases);
  cells_.leased_events.add(now.leased_events - published_.leased_events);
  cells_.open_ranges.add(now.open_ranges - published_.open_ranges);
  cells_.waiting.add(now.waiting - published_.waiting);
  published_ = now;
}

}  // namespace weir::forwarder
