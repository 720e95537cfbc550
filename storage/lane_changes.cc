#include "storage/lane_changes.h"

#include <algorithm>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

void add_counts(OutcomeCounts& to, const OutcomeCounts& more) {
  to.sent += more.sent;
  to.failed += more.failed;
  to.expired += more.expired;
  to.skipped += more.skipped;
}

size_t open_count(const LaneState& lane) {
  size_t count = 0;
  for (const LaneShard& shard : lane.shards) count += shard.open.size();
  return count;
}

void close_range(LaneState& lane, uint64_t batch, LaneDelta* delta) {
  for (LaneShard& shard : lane.shards)
    if (shard.open.erase(batch) > 0) delta->ranges.insert(batch);
}

// Rows at or after `from` are waiting to be sent once more: no longer given up.
void reopen_expired_from(LaneRecord& lane, uint16_t shard, uint64_t from, LaneDelta* delta) {
  ExpiredRanges kept;
  for (auto& [key, range] : lane.expired) {
    if (key.first != shard || range.last < from) {
      kept[key] = range;
      continue;
    }
    delta->expired.insert(key);
    const uint64_t width = range.last - range.first + 1;
    const uint64_t reopened = range.last - std::max(range.first, from) + 1;
    const uint64_t events = range.events * reopened / width;
    lane.state.counts.expired -= std::min(lane.state.counts.expired, events);
    if (range.first < from) {
      ExpiredRange before = range;
      before.last = from - 1;
      before.events = range.events - events;
      kept[key] = before;
    }
  }
  lane.expired = std::move(kept);
}

void seek(LaneRecord& lane, const LaneUpdate& update, LaneDelta* delta) {
  for (LaneShard& shard : lane.state.shards) {
    for (const auto& [number, range] : shard.open) delta->ranges.insert(number);
    shard.open.clear();
  }
  for (const auto& [shard_number, frontier] : update.frontiers) {
    LaneShard& shard = lane.state.shards[shard_number];
    if (frontier < shard.frontier) reopen_expired_from(lane, shard_number, frontier, delta);
    shard.frontier = frontier;
    shard.floor = std::min(shard.floor, frontier);
    shard.start = std::min(shard.start, frontier);
  }
}

bool names(const LaneUpdate& update, uint64_t batch) {
  return std::find(update.close.begin(), update.close.end(), batch) != update.close.end() ||
         std::any_of(update.put.begin(), update.put.end(),
                     [&](const OpenRange& range) { return range.number == batch; });
}

// Where a range begins that its owner opens. What the store gave up meanwhile, while the owner did
// not know, is not in it: numbers below the frontier if the update moves that, below the floor if
// not. What lies in an open range was not given up: parts of a batch, a lease handed out again. One
// that was requeued is another matter, unless the update takes from it.
uint64_t first_left(const LaneShard& shard, const OpenRange& range, const LaneUpdate& update) {
  const bool taken_now =
      !update.seek && std::any_of(update.frontiers.begin(), update.frontiers.end(),
                                  [&](const auto& moved) { return moved.first == range.shard; });
  const uint64_t limit = taken_now ? shard.frontier : shard.floor;
  if (range.first >= limit || shard.open.contains(range.number)) return range.first;
  const bool open = std::any_of(shard.open.begin(), shard.open.end(), [&](const auto& entry) {
    const OpenRange& other = entry.second;
    return other.first <= range.first && range.first <= other.last &&
           (!other.requeued() || names(update, other.number));
  });
  return open ? range.first : limit;
}

void put_range(LaneState& lane, const OpenRange& range, uint64_t first, LaneDelta* delta) {
  if (first > range.last) return;
  LaneShard& shard = lane.shards[range.shard];
  close_range(lane, range.number, delta);
  OpenRange& kept = shard.open[range.number] = range;
  kept.first = range.requeued() ? std::max(first, shard.floor) : first;
  if (kept.last_error.size() > OpenRange::kMaxErrorBytes)
    kept.last_error.resize(OpenRange::kMaxErrorBytes);
  delta->ranges.insert(range.number);
}

}  // namespace

const OpenRange* find_range(const LaneState& lane, uint64_t batch) {
  for (const LaneShard& shard : lane.shards)
    if (auto found = shard.open.find(batch); found != shard.open.end()) return &found->second;
  return nullptr;
}

Status check_update(const LaneRecord& lane, const LaneUpdate& update) {
  const size_t shards = lane.state.shards.size();
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidArgument, "an update of lane {} has {}", lane.state.name, what);
  };
  for (const auto& [shard, frontier] : update.frontiers)
    if (shard >= shards || frontier == 0) return bad("a frontier outside the store");
  for (const OpenRange& range : update.put) {
    if (range.shard >= shards || range.first == 0 || range.first > range.last)
      return bad("a range outside the store");
    if (range.number == 0) return bad("a range without a batch number");
  }
  for (const DeliveryRow& row : update.deliveries)
    if (row.shard >= shards || row.first > row.last) return bad("a delivery outside the store");
  for (const ExpiredRange& range : update.expired)
    if (range.shard >= shards || range.first > range.last)
      return bad("an expired range outside the store");
  for (const DeadLetter& letter : update.dead_letters)
    if (letter.position.shard >= shards) return bad("a dead letter outside the store");
  if (update.note && update.note->size() > LaneState::kMaxNoteBytes)
    return bad("a note that is too long");
  // An upper bound: what is put may be open already.
  const size_t open = open_count(lane.state) + update.put.size();
  if (open > kMaxOpenRanges + update.close.size())
    return fail(ErrorCode::kLimit, "lane {} has {} batches open, the most there may be",
                lane.state.name, open_count(lane.state));
  return {};
}

void apply_update(LaneRecord& lane, const LaneUpdate& update, LaneDelta* delta) {
  if (update.seek) seek(lane, update, delta);
  std::vector<uint64_t> firsts;  // of what is put; before anything moves or closes
  for (const OpenRange& range : update.put)
    firsts.push_back(first_left(lane.state.shards[range.shard], range, update));
  if (!update.seek) {
    for (const auto& [number, frontier] : update.frontiers) {
      LaneShard& shard = lane.state.shards[number];
      shard.frontier = std::max(shard.frontier, frontier);
    }
  }
  for (uint64_t batch : update.close) close_range(lane.state, batch, delta);
  for (size_t i = 0; i < update.put.size(); ++i)
    put_range(lane.state, update.put[i], firsts[i], delta);
  for (const ExpiredRange& range : update.expired) add_expired(lane, range, delta);
  lane.state.active_ms = std::max(lane.state.active_ms, update.active_ms);
  if (update.note) lane.state.note = *update.note;
  add_counts(lane.state.counts, update.counts);
  for (const auto& [tenant, counts] : update.tenants) {
    add_counts(lane.state.tenants[tenant], counts);
    delta->tenants.insert(tenant);
  }
}

void add_expired(LaneRecord& lane, const ExpiredRange& range, LaneDelta* delta) {
  ExpiredRange merged = range;
  auto& rows = lane.expired;
  auto joins = [&](const ExpiredRange& row, bool full) {
    if (row.shard != merged.shard) return false;
    const bool overlap = row.first <= merged.last && merged.first <= row.last;
    const bool touch = row.last + 1 == merged.first || merged.last + 1 == row.first;
    return overlap || (touch && (full || row.reason == merged.reason));
  };
  const bool full = rows.size() >= kMaxExpiredRows;
  for (auto row = rows.lower_bound({merged.shard, merged.first}); row != rows.end();) {
    if (!joins(row->second, full)) break;
    merged.last = std::max(merged.last, row->second.last);
    merged.events += row->second.events;
    delta->expired.insert(row->first);
    row = rows.erase(row);
  }
  if (auto row = rows.lower_bound({merged.shard, merged.first}); row != rows.begin()) {
    --row;
    if (joins(row->second, full) ||
        (rows.size() >= 2 * kMaxExpiredRows && row->first.first == merged.shard)) {
      // At twice the bound ranges are joined across gaps: the count stays right, the place blurs.
      merged.first = row->second.first;
      merged.last = std::max(merged.last, row->second.last);
      merged.events += row->second.events;
      delta->expired.insert(row->first);
      rows.erase(row);
    }
  }
  merged.events = std::min(merged.events, merged.last - merged.first + 1);
  delta->expired.insert({merged.shard, merged.first});
  rows[{merged.shard, merged.first}] = std::move(merged);
}

IntervalSet unfinished(const LaneShard& shard, uint64_t first, uint64_t last) {
  IntervalSet set;
  for (const auto& [number, range] : shard.open)
    set.add(std::max(range.first, first), std::min(range.last, last));
  set.add(std::max(shard.frontier, first), last);
  return set;
}

IntervalSet give_up_through(LaneRecord& lane, unsigned shard_number, uint64_t last,
                            LaneDelta* delta) {
  LaneShard& shard = lane.state.shards[shard_number];
  IntervalSet given_up;
  for (auto range = shard.open.begin(); range != shard.open.end();) {
    if (range->second.last > last) {
      if (range->second.requeued() && range->second.first <= last) {
        given_up.add(range->second.first, last);
        range->second.first = last + 1;
        delta->ranges.insert(range->first);
      }
      ++range;
      continue;
    }
    given_up.add(range->second.first, range->second.last);
    delta->ranges.insert(range->first);
    range = shard.open.erase(range);
  }
  if (shard.frontier <= last) given_up.add(shard.frontier, last);
  shard.frontier = std::max(shard.frontier, last + 1);
  shard.floor = std::max(shard.floor, last + 1);
  return given_up;
}

void drop_expired_through(LaneRecord& lane, unsigned shard_number, uint64_t last,
                          const std::set<uint64_t>& keep, LaneDelta* delta) {
  const auto shard = static_cast<uint16_t>(shard_number);
  std::vector<ExpiredRange> rest;
  for (auto row = lane.expired.lower_bound({shard, 0});
       row != lane.expired.end() && row->first.first == shard && row->first.second <= last;) {
    const ExpiredRange& range = row->second;
    const uint64_t cut = std::min(range.last, last);
    ExpiredRange piece = range;
    for (auto n = keep.lower_bound(range.first); n != keep.end() && *n <= cut; ++n) {
      piece.first = piece.last = *n;
      piece.events = 1;
      rest.push_back(piece);
    }
    if (range.last > last) {
      piece = range;
      piece.first = last + 1;
      const uint64_t width = range.last - range.first + 1;
      piece.events = range.events * (range.last - last) / width;
      rest.push_back(piece);
    }
    delta->expired.insert(row->first);
    row = lane.expired.erase(row);
  }
  for (ExpiredRange& piece : rest) {
    delta->expired.insert({piece.shard, piece.first});
    lane.expired[{piece.shard, piece.first}] = std::move(piece);
  }
}

}  // namespace weir::storage
