// Moving a consumer: to another place in the log for good, or over a part of it once more. A part
// of Consumer.
#include <algorithm>

#include "forwarder/consumer.h"
#include "storage/base/log.h"
#include "storage/interval_set.h"

namespace weir::forwarder {

// ---- seek

// The number a target means in one store shard.
Result<uint64_t> Consumer::resolve(const SeekTarget& target, uint16_t shard) const {
  if (target.names_shard(shard)) return resolve_target(around_.store, target, shard);
  // Not named: it stays, with everything that is not finished.
  uint64_t low = cursors_[shard];
  for (const auto& [number, held] : ranges_)
    if (held.range.shard == shard) low = std::min(low, held.range.first);
  return low;
}

void Consumer::seek(PullCall& call) {
  touch();
  if (broken_ || stopped_)
    return fail_call(call, ErrorCode::kUnavailable, "unavailable", "try again in a moment");
  std::vector<uint64_t> to;
  for (size_t shard = 0; shard < cursors_.size(); ++shard) {
    const auto resolved = resolve(call.seek, static_cast<uint16_t>(shard));
    if (!resolved)
      return fail_call(call, ErrorCode::kUnavailable, "unavailable", resolved.error().message);
    to.push_back(*resolved);
  }
  save_skipped(true);
  auto mark = new_mark();
  mark->update.seek = true;
  for (size_t shard = 0; shard < to.size(); ++shard) {
    // What lies between is passed over without having been handed out.
    uint64_t passed = to[shard] > cursors_[shard] ? to[shard] - cursors_[shard] : 0;
    for (const auto& [number, held] : ranges_)
      if (held.range.shard == shard && held.range.last < to[shard])
        passed += held.range.last - held.range.first + 1;
    mark->update.counts.skipped += passed;
    cells_.skipped.add(passed);
    mark->update.frontiers.emplace_back(static_cast<uint16_t>(shard), to[shard]);
    call.positions.push_back({static_cast<uint16_t>(shard), to[shard]});
    log::warn("consumer_moved",
              {{"consumer", name()},
               {"by", call.holder},
               {"from", Position{static_cast<uint16_t>(shard), cursors_[shard]}.text()},
               {"to", call.positions.back().text()},
               {"passed_over", passed}});
  }
  forget_ranges();
  look_for_requeued();  // of what was forgotten, requeued dead letters come again
  cursors_ = std::move(to);
  mark->calls.push_back(&call);
  submit(std::move(mark));
}

// ---- replay

void Consumer::replay(PullCall& call) {
  touch();
  if (broken_ || stopped_)
    return fail_call(call, ErrorCode::kUnavailable, "unavailable", "try again in a moment");
  const auto state = around_.store.lane(name());
  if (!state) return fail_call(call, ErrorCode::kUnavailable, "unavailable", state.error().message);
  auto mark = new_mark();
  for (size_t i = 0; i < cursors_.size(); ++i) {
    const auto shard = static_cast<uint16_t>(i);
    if (!call.seek.names_shard(shard) || !call.until.names_shard(shard)) continue;
    const auto from = resolve(call.seek, shard);
    const auto until = resolve(call.until, shard);
    if (!from || !until)
      return fail_call(call, ErrorCode::kUnavailable, "unavailable",
                       (from ? until : from).error().message);
    // What nobody has had yet, or somebody has, comes anyway.
    storage::IntervalSet wanted;
    storage::IntervalSet open;
    const uint64_t end = std::min(*until, cursors_[shard]);
    wanted.add(*from, end == 0 ? 0 : end - 1);
    for (const auto& [number, held] : ranges_)
      if (held.range.shard == shard) open.add(held.range.first, held.range.last);
    storage::IntervalSet again =
        wanted.without(open, std::max(*from, state->shards[shard].floor), UINT64_MAX);
    for (const storage::Interval& interval : again.intervals()) {
      storage::OpenRange range;
      range.shard = shard;
      range.first = interval.first;
      range.last = interval.last;
      range.state = storage::RangeState::kDelayed;
      range.opened_ms = range.not_before_ms = around_.clock.wall_ms();
      call.events += interval.last - interval.first + 1;
      mark->update.put.push_back(range);
    }
  }
  std::vector<storage::OpenRange> ranges = std::move(mark->update.put);
  mark->update.put.clear();
  if (ranges_.size() + ranges.size() > options_.max_open_ranges)
    return fail_call(call, ErrorCode::kLimit, "too_many_open_ranges",
                     "the consumer has too many open ranges; acknowledge some first");
  for (storage::OpenRange& range : ranges) {
    range.number = around_.store.next_batch_number();
    put(mark->update, range, around_.clock.monotonic_ns());
  }
  log::info("consumer_replays", {{"consumer", name()},
                                 {"by", call.holder},
                                 {"events", call.events},
                                 {"ranges", ranges.size()}});
  if (ranges.empty()) return around_.finish(call);
  mark->calls.push_back(&call);
  submit(std::move(mark));
}

}  // namespace weir::forwarder
