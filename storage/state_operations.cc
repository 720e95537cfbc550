// What one update, one expiry and one deleted segment change in state. See state_work.h.
#include <algorithm>
#include <initializer_list>

#include "storage/state_work.h"

namespace weir::storage {
namespace {

constexpr std::string_view kDiscarded = "discarded";

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
      row.reason = kDiscarded;
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

// Given up no longer. A row may count fewer events than lie in its range: the others were filtered
// out when a batch was made of it. Whose they were is known only in proportion.
void take_expired(LaneRecord& lane, const TenantCounts& there, uint64_t given_up,
                  LaneDelta* delta) {
  const auto take = [](OutcomeCounts& counts, uint64_t events) {
    counts.expired -= std::min(counts.expired, events);
  };
  take(lane.state.counts, given_up);
  for (const auto& [tenant, count] : there.tenants) {
    take(lane.state.tenants[tenant], count * std::min(given_up, there.events) / there.events);
    delta->tenants.insert(tenant);
  }
}

OpenRange requeued_range(const ReplayRange& numbers, int64_t now_ms) {
  OpenRange range;
  range.shard = numbers.shard;
  range.first = numbers.first;
  range.last = numbers.last;
  range.state = RangeState::kDelayed;
  range.opened_ms = now_ms;
  range.owner = OpenRange::kRequeued;
  return range;
}

// What stays of a row of which [first, last] is opened again; how many events that takes from it.
uint64_t cut_row(const ExpiredRange& row, uint64_t first, uint64_t last,
                 std::vector<ExpiredRange>* rest) {
  const uint64_t width = row.last - row.first + 1;
  uint64_t taken = row.events;
  ExpiredRange piece = row;
  if (row.first < first) {
    piece.last = first - 1;
    piece.events = row.events * (first - row.first) / width;
    taken -= piece.events;
    rest->push_back(piece);
  }
  if (row.last > last) {
    piece = row;
    piece.first = last + 1;
    piece.events = row.events * (row.last - last) / width;
    taken -= piece.events;
    rest->push_back(piece);
  }
  return taken;
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
  take_expired(lane, there, row->second.events, &delta);
  OpenRange& open = shard.open[number] =
      requeued_range({range.shard, range.first, range.last}, now_ms);
  open.number = number;
  shard.floor = std::min(shard.floor, range.first);
  delta.ranges.insert(number);
  delta.expired.insert(row->first);
  lane.expired.erase(row);
  *events += there.events;
  return {};
}

Status plan_replay(StateWork& work, const LaneRecord& lane, const ReplayRange& range,
                   const LogView& log, const DeadLetters& letters, int64_t now_ms,
                   LaneUpdate* opened, Replayed* replayed) {
  if (range.shard >= lane.state.shards.size())
    return fail(ErrorCode::kInvalidArgument, "there is no shard {}", range.shard);
  const uint64_t lowest = work.past()[range.shard].lowest_live;
  if (range.first < lowest)
    return fail(ErrorCode::kBusy, "events below {}-{} were deleted meanwhile; ask again",
                range.shard, lowest);
  const uint64_t last = std::min(range.last, log.end(range.shard) - 1);
  if (range.first > last) return {};
  IntervalSet wanted, failed;
  wanted.add(range.first, last);
  IntervalSet pending = unfinished(lane.state.shards[range.shard], range.first, last);
  for (uint64_t number : letters.numbers(range.shard, range.first, last, lane.state.name))
    failed.add(number, number);
  for (const auto& [key, row] : lane.expired)
    if (row.shard == range.shard && row.reason == kDiscarded)
      failed.add(std::max(row.first, range.first), std::min(row.last, last));
  failed = failed.without(pending, range.first, last);
  IntervalSet left_out = pending;
  left_out.add(failed);
  IntervalSet again = wanted.without(left_out, range.first, last);
  if (again.intervals().size() > kMaxOpenRanges / 2)
    return fail(
        ErrorCode::kLimit,
        "events that failed cut the range into {} pieces, more than {} can be open at once; "
        "requeue or discard them first, or replay it in parts",
        again.intervals().size(), kMaxOpenRanges / 2);
  for (const Interval& interval : again.intervals())
    opened->put.push_back(requeued_range({range.shard, interval.first, interval.last}, now_ms));
  TenantCounts all, waiting;
  WEIR_RETURN_IF_ERROR(count_events(log, range.shard, {range.first, last}, &all));
  WEIR_RETURN_IF_ERROR(count_set(log, range.shard, pending, &waiting));
  uint64_t letters_left_out = 0;
  for (const Interval& interval : failed.intervals())
    letters_left_out += interval.last - interval.first + 1;
  replayed->events += all.events - std::min(all.events, waiting.events + letters_left_out);
  replayed->failed += letters_left_out;
  replayed->pending += waiting.events;
  return {};
}

Status reopen_given_up(StateWork& work, LaneRecord& lane, const OpenRange& range,
                       const LogView& log) {
  LaneShard& shard = lane.state.shards[range.shard];
  shard.floor = std::min(shard.floor, range.first);
  shard.start = std::min(shard.start, range.first);
  LaneDelta& delta = work.delta(lane);
  auto row = lane.expired.upper_bound({range.shard, range.first});
  if (row != lane.expired.begin()) --row;  // it may reach into the range
  std::vector<ExpiredRange> rest;
  while (row != lane.expired.end() && row->first <= ExpiredKey{range.shard, range.last}) {
    const ExpiredRange& given_up = row->second;
    if (given_up.shard != range.shard || given_up.last < range.first) {
      ++row;
      continue;
    }
    TenantCounts there;
    WEIR_RETURN_IF_ERROR(count_events(
        log, range.shard,
        {std::max(given_up.first, range.first), std::min(given_up.last, range.last)}, &there));
    take_expired(lane, there, cut_row(given_up, range.first, range.last, &rest), &delta);
    delta.expired.insert(row->first);
    row = lane.expired.erase(row);
  }
  for (ExpiredRange& piece : rest) {
    delta.expired.insert({piece.shard, piece.first});
    lane.expired[{piece.shard, piece.first}] = std::move(piece);
  }
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
