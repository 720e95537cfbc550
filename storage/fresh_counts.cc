#include "storage/fresh_counts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "storage/interval_set.h"
#include "storage/lane_changes.h"

namespace weir::storage {
namespace {

void add_tenants(FreshCounts& counts, const TenantCounts& more, uint64_t EventStates::*state) {
  counts.total.*state += more.events;
  for (const auto& [tenant, count] : more.tenants) counts.tenants[tenant].*state += count;
}

void take_tenants(FreshCounts& counts, const TenantCounts& less, uint64_t EventStates::*state) {
  const auto take = [](uint64_t& from, uint64_t count) { from -= std::min(from, count); };
  take(counts.total.*state, less.events);
  for (const auto& [tenant, count] : less.tenants) take(counts.tenants[tenant].*state, count);
}

Status count_set(const LogView& log, unsigned shard, IntervalSet& set, TenantCounts* into) {
  for (const Interval& interval : set.intervals())
    WEIR_RETURN_IF_ERROR(log.count(shard, interval.first, interval.last, into));
  return {};
}

// One shard: its pending and failed events are counted, the rest of what was accepted is sent.
class ShardCounter {
 public:
  ShardCounter(const StateSnapshot& snapshot, const LogView& log, unsigned shard)
      : snapshot_(snapshot), log_(log), shard_(shard), past_(snapshot.past[shard]) {}

  Status add_to(FreshCounts& counts, uint64_t end) {
    const uint64_t first = past_.lowest_live;
    collect(end);
    IntervalSet failed_alive = failed_.clipped(first, end - 1);
    IntervalSet pending = unfinished_.without(failed_, first, end - 1);
    TenantCounts alive, failed, waiting;
    if (end > first) WEIR_RETURN_IF_ERROR(log_.count(shard_, first, end - 1, &alive));
    WEIR_RETURN_IF_ERROR(count_set(log_, shard_, failed_alive, &failed));
    WEIR_RETURN_IF_ERROR(count_set(log_, shard_, pending, &waiting));
    add_failed_in_the_past(&failed);
    failed.add(past_.failed);

    add_tenants(counts, past_.accepted, &EventStates::sent);
    add_tenants(counts, alive, &EventStates::sent);
    take_tenants(counts, past_.unfinished, &EventStates::sent);
    take_tenants(counts, failed, &EventStates::sent);
    take_tenants(counts, waiting, &EventStates::sent);
    add_tenants(counts, failed, &EventStates::failed);
    add_tenants(counts, waiting, &EventStates::pending);
    return {};
  }

  // Unfinished events of each lane, for its own line.
  Status add_lanes(FreshCounts& counts, uint64_t end) {
    for (const LaneState& lane : snapshot_.lanes) {
      const LaneShard& at = lane.shards[shard_];
      IntervalSet set = unfinished(at, std::max(past_.lowest_live, at.start), end - 1);
      TenantCounts waiting;
      WEIR_RETURN_IF_ERROR(count_set(log_, shard_, set, &waiting));
      counts.lanes[lane.name].pending += waiting.events;
    }
    return {};
  }

 private:
  void collect(uint64_t end) {
    const uint64_t first = past_.lowest_live;
    uint64_t earliest_start = end;
    for (const LaneState& lane : snapshot_.lanes) {
      const LaneShard& at = lane.shards[shard_];
      earliest_start = std::min(earliest_start, at.start);
      unfinished_.add(unfinished(at, std::max(first, at.start), end - 1));
      lanes_.insert(lane.name);
      if (auto rows = snapshot_.expired.find(lane.name); rows != snapshot_.expired.end())
        for (const ExpiredRange& row : rows->second)
          if (row.shard == shard_) failed_.add(row.first, row.last);
    }
    // What no lane ever had a part in waits for one.
    if (earliest_start > first) unfinished_.add(first, earliest_start - 1);
    for (const auto& letter : snapshot_.failed)
      if (letter.position.shard == shard_ && lanes_.contains(letter.lane))
        failed_.add(letter.position.number, letter.position.number);
  }

  // Below the lowest live number the log cannot be asked; each failed event there has a letter.
  void add_failed_in_the_past(TenantCounts* failed) {
    std::map<uint64_t, std::string_view> tenants;
    for (const auto& letter : snapshot_.failed)
      if (letter.position.shard == shard_ && letter.position.number < past_.lowest_live)
        tenants.emplace(letter.position.number, letter.tenant);
    for (const auto& [number, tenant] : tenants) {
      if (!failed_.contains(number)) continue;
      failed->events += 1;
      failed->tenants[std::string(tenant)] += 1;
    }
  }

  const StateSnapshot& snapshot_;
  const LogView& log_;
  unsigned shard_;
  const ShardPast& past_;
  IntervalSet failed_;
  IntervalSet unfinished_;
  std::set<std::string_view> lanes_;
};

Result<FreshCounts> count_once(const StateSnapshot& snapshot, const LogView& log) {
  FreshCounts counts;
  for (const LaneState& lane : snapshot.lanes) {
    EventStates& states = counts.lanes[lane.name];
    states.sent = lane.counts.sent;
    states.failed = lane.counts.failed + lane.counts.expired;
  }
  for (unsigned shard = 0; shard < snapshot.past.size(); ++shard) {
    const uint64_t end = std::max(log.end(shard), snapshot.past[shard].lowest_live);
    ShardCounter counter(snapshot, log, shard);
    WEIR_RETURN_IF_ERROR(counter.add_to(counts, end));
    WEIR_RETURN_IF_ERROR(counter.add_lanes(counts, end));
  }
  return counts;
}

}  // namespace

Result<FreshCounts> fresh_counts(const State& state, const LogView& log) {
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    const StateSnapshot snapshot = state.snapshot();
    auto counts = count_once(snapshot, log);
    // A segment that went meanwhile would be missing on one side; count again without it.
    bool moved = false;
    for (unsigned shard = 0; shard < snapshot.past.size(); ++shard)
      moved = moved || state.past(shard).lowest_live != snapshot.past[shard].lowest_live;
    if (!moved || attempt == kAttempts) return counts;
  }
}

}  // namespace weir::storage
