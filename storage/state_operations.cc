// What one update, one expiry and one deleted segment change in state. See state_work.h.
#include <algorithm>
#include <initializer_list>

#include "storage/state_work.h"

namespace weir::storage {
namespace {

void take_one(uint64_t& count) { count -= std::min<uint64_t>(count, 1); }

// Whether a lane that counts gave the number up (a row of its expired ranges covers it).
bool covered(const LaneRecord& lane, Position position) {
  auto after = lane.expired.upper_bound({position.shard, position.number});
  if (after == lane.expired.begin()) return false;
  const ExpiredRange& row = std::prev(after)->second;
  return row.shard == position.shard && row.last >= position.number;
}

// The last letter of an event whose segment is gone was decided. As long as there was a letter, the
// letter said "failed"; from now on the totals of the past must: if somebody gave the event up it
// stays failed, else it counts as sent.
void settle(StateWork& work, Position position, const std::string& tenant) {
  ShardPast& past = work.past()[position.shard];
  bool given_up = false;
  for (const std::string& name : work.lane_names()) {
    LaneRecord& lane = *work.lane(name);
    if (!covered(lane, position)) continue;
    given_up = given_up || lane.holds;
    // Below the lowest live number rows cover single numbers (drop_expired_through).
    const ExpiredKey key{position.shard, position.number};
    lane.expired.erase(key);
    work.delta(lane).expired.insert(key);
  }
  if (!given_up) return;
  past.failed.events += 1;
  past.failed.tenants[tenant] += 1;
  work.touch_past_tenant(position.shard, tenant);
}

// letters still has the letter that is being decided: another one at the same position belongs to
// another lane.
bool is_last_letter(const DeadLetters& letters, const std::string& lane, Position position) {
  for (const auto& failed : letters.failed_at(position))
    if (failed.lane != lane) return false;
  return true;
}

void decide_letters(StateWork& work, LaneRecord& lane, const DeadLetters::Effect& effect,
                    const DeadLetters& letters, int64_t now_ms) {
  LaneDelta& delta = work.delta(lane);
  for (const auto& [tenant, count] : effect.replaced) {
    OutcomeCounts& counts = lane.state.tenants[tenant];
    delta.tenants.insert(tenant);
    lane.state.counts.failed -= std::min(lane.state.counts.failed, count);
    counts.failed -= std::min(counts.failed, count);
  }
  const auto decide = [&](const std::string& tenant, Position position, bool sent) {
    OutcomeCounts& counts = lane.state.tenants[tenant];
    delta.tenants.insert(tenant);
    take_one(lane.state.counts.failed);
    take_one(counts.failed);
    ++(sent ? lane.state.counts.sent : lane.state.counts.expired);
    ++(sent ? counts.sent : counts.expired);
    if (!sent) {
      ExpiredRange row;
      row.shard = position.shard;
      row.first = row.last = position.number;
      row.events = 1;
      row.at_ms = now_ms;
      row.reason = "discarded";
      // Below the lowest live number rows stay single, so that settle() finds them.
      if (position.number < work.past()[position.shard].lowest_live) {
        lane.expired[{row.shard, row.first}] = row;
        delta.expired.insert({row.shard, row.first});
      } else {
        add_expired(lane, row, &delta);
      }
    }
    if (position.number < work.past()[position.shard].lowest_live &&
        is_last_letter(letters, lane.state.name, position))
      settle(work, position, tenant);
  };
  for (const auto& [tenant, position] : effect.sent) decide(tenant, position, true);
  for (const auto& [tenant, position] : effect.discarded) decide(tenant, position, false);
}

void count_expired(LaneRecord& lane, const TenantCounts& given_up, LaneDelta* delta) {
  lane.state.counts.expired += given_up.events;
  for (const auto& [tenant, count] : given_up.tenants) {
    lane.state.tenants[tenant].expired += count;
    delta->tenants.insert(tenant);
  }
}

// Counts the events of an interval. An error of the log says nothing about state, so it must not
// look like one of state's own: without its number it latches nothing.
Status count_events(const LogView& log, unsigned shard, const Interval& interval,
                    TenantCounts* into) {
  auto counted = log.count(shard, interval.first, interval.last, into);
  if (!counted) counted.error().os_errno = 0;
  return counted;
}

Status count_set(const LogView& log, unsigned shard, IntervalSet& set, TenantCounts* into) {
  for (const Interval& interval : set.intervals())
    WEIR_RETURN_IF_ERROR(count_events(log, shard, interval, into));
  return {};
}

// Retention decided by an older look at the lanes: what was requeued since then stays.
bool holds_requeued(const LaneRecord& lane, const SegmentTrim& trim) {
  if (!lane.holds || trim.shard >= lane.state.shards.size()) return false;
  for (const auto& [number, range] : lane.state.shards[trim.shard].open)
    if (range.requeued() && range.first <= trim.last) return true;
  return false;
}

}  // namespace

Status apply_lane_update(StateWork& work, LaneRecord& lane, const LaneUpdate& update,
                         const DeadLetters::Effect* effect, const DeadLetters& letters,
                         int64_t now_ms, uint64_t max_rows) {
  apply_update(lane, update, &work.delta(lane));
  for (const DeliveryRow& row : update.deliveries)
    WEIR_RETURN_IF_ERROR(work.add_delivery(lane, row, max_rows));
  if (effect == nullptr) return {};
  decide_letters(work, lane, *effect, letters, now_ms);
  return work.put_number(state_key::kDeadLetterMark, effect->mark);
}

Status apply_expiry(StateWork& work, const Expiry& expiry, const LogView& log, int64_t now_ms,
                    uint64_t* events) {
  LaneRecord* lane = work.lane(expiry.lane);
  if (lane == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", expiry.lane);
  if (expiry.shard >= lane->state.shards.size())
    return fail(ErrorCode::kInvalidArgument, "there is no shard {}", expiry.shard);
  LaneDelta& delta = work.delta(*lane);
  IntervalSet given_up = give_up_through(*lane, expiry.shard, expiry.last, &delta);
  TenantCounts total;
  for (const Interval& interval : given_up.intervals()) {
    TenantCounts counts;
    WEIR_RETURN_IF_ERROR(count_events(log, expiry.shard, interval, &counts));
    if (counts.events == 0) continue;  // a gap: nothing was there to give up
    ExpiredRange row;
    row.shard = static_cast<uint16_t>(expiry.shard);
    row.first = interval.first;
    row.last = interval.last;
    row.events = counts.events;
    row.at_ms = now_ms;
    row.reason = std::string(expiry.reason);
    add_expired(*lane, row, &delta);
    total.add(counts);
  }
  count_expired(*lane, total, &delta);
  *events = total.events;
  return {};
}

Status apply_requeue(StateWork& work, LaneRecord& lane, const ExpiredRange& range, uint64_t number,
                     const LogView& log, int64_t now_ms, uint64_t* events) {
  if (range.shard >= lane.state.shards.size()) return {};
  LaneShard& shard = lane.state.shards[range.shard];
  const auto row = lane.expired.find({range.shard, range.first});
  if (row == lane.expired.end() || row->second.last != range.last ||
      range.first < work.past()[range.shard].lowest_live || range.last >= shard.frontier)
    return {};
  TenantCounts there;
  WEIR_RETURN_IF_ERROR(count_events(log, range.shard, {range.first, range.last}, &there));
  LaneDelta& delta = work.delta(lane);
  // A row may count fewer events than lie in its range: the others were filtered out when a batch
  // was made of it. Whose they were is known only in proportion.
  const uint64_t counted = row->second.events;
  const auto take = [&](OutcomeCounts& counts, uint64_t given_up) {
    counts.expired -= std::min(counts.expired, given_up);
  };
  take(lane.state.counts, counted);
  for (const auto& [tenant, count] : there.tenants) {
    take(lane.state.tenants[tenant], count * std::min(counted, there.events) / there.events);
    delta.tenants.insert(tenant);
  }
  OpenRange open;
  open.number = number;
  open.shard = range.shard;
  open.first = range.first;
  open.last = range.last;
  open.state = RangeState::kDelayed;
  open.opened_ms = now_ms;
  open.owner = OpenRange::kRequeued;
  shard.open[number] = open;
  shard.floor = std::min(shard.floor, range.first);
  delta.ranges.insert(number);
  delta.expired.insert(row->first);
  lane.expired.erase(row);
  *events += there.events;
  return {};
}

Status apply_trim(StateWork& work, const SegmentTrim& trim, const LogView& log,
                  const DeadLetters& letters) {
  constexpr size_t kRowsPerTrim = 20'000;
  if (trim.shard >= work.past().size())
    return fail(ErrorCode::kInvalidArgument, "there is no shard {}", trim.shard);
  const uint64_t first = work.past()[trim.shard].lowest_live;
  if (trim.last < first) return {};  // decided before
  for (const std::string& name : work.lane_names())
    if (holds_requeued(*work.lane(name), trim))
      return fail(ErrorCode::kBusy, "events up to {} were requeued for {}", trim.last, name);
  const std::set<uint64_t> kept = letters.numbers(trim.shard, first, trim.last);
  IntervalSet with_letter;
  for (uint64_t number : kept) with_letter.add(number, number);

  IntervalSet given_up, open;
  uint64_t earliest_start = UINT64_MAX;
  for (const std::string& name : work.lane_names()) {
    LaneRecord& lane = *work.lane(name);
    if (lane.holds) {
      const LaneShard& shard = lane.state.shards[trim.shard];
      earliest_start = std::min(earliest_start, shard.start);
      open.add(unfinished(shard, std::max(first, shard.start), trim.last));
      for (const auto& [key, row] : lane.expired)
        if (row.shard == trim.shard) given_up.add(row.first, row.last);
    }
    drop_expired_through(lane, trim.shard, trim.last, kept, &work.delta(lane));
  }
  // Events no lane ever had a part in are pending until they are deleted, and unfinished then.
  if (earliest_start > first) open.add(first, std::min(trim.last, earliest_start - 1));

  TenantCounts failed, unfinished_counts;
  IntervalSet failed_set = given_up.without(with_letter, first, trim.last);
  WEIR_RETURN_IF_ERROR(count_set(log, trim.shard, failed_set, &failed));
  given_up.add(with_letter);
  IntervalSet unfinished_set = open.without(given_up, first, trim.last);
  WEIR_RETURN_IF_ERROR(count_set(log, trim.shard, unfinished_set, &unfinished_counts));

  ShardPast& past = work.past()[trim.shard];
  past.lowest_live = trim.last + 1;
  past.accepted.add(trim.accepted);
  past.failed.add(failed);
  past.unfinished.add(unfinished_counts);
  for (const TenantCounts* counts :
       std::initializer_list<const TenantCounts*>{&trim.accepted, &failed, &unfinished_counts})
    for (const auto& [tenant, count] : counts->tenants) work.touch_past_tenant(trim.shard, tenant);
  return work.prune_deliveries(trim.shard, trim.last, kRowsPerTrim);
}

LaneRecord make_lane(uint32_t id, const LaneOptions& options, unsigned shards,
                     const std::vector<uint64_t>& ends) {
  LaneRecord record;
  record.id = id;
  record.options = options;
  record.holds = true;
  record.state.name = options.name;
  record.state.kind = options.kind;
  record.state.max_idle_ms = options.max_idle_ms;
  record.state.note = options.note;
  record.state.shards.resize(shards);
  for (unsigned shard = 0; shard < shards && options.from_latest && shard < ends.size(); ++shard) {
    LaneShard& at = record.state.shards[shard];
    at.start = at.frontier = at.floor = std::max<uint64_t>(1, ends[shard]);
  }
  return record;
}

}  // namespace weir::storage
