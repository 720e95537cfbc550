#include "forwarder/seek_target.h"

#include <algorithm>

#include "storage/base/clock.h"

namespace weir::forwarder {

const Position* SeekTarget::position_in(uint16_t shard) const {
  if (kind != Kind::kPositions) return nullptr;
  const auto found = std::find_if(positions.begin(), positions.end(),
                                  [&](const Position& at) { return at.shard == shard; });
  return found == positions.end() ? nullptr : &*found;
}

Result<SeekTarget> parse_seek(std::string_view text) {
  using Kind = SeekTarget::Kind;
  SeekTarget target;
  if (text == "earliest") return target;
  target.kind = Kind::kLatest;
  if (text == "latest") return target;
  target.kind = Kind::kTime;
  if (parse_rfc3339_ms(text, &target.wall_ms)) return target;
  target.kind = Kind::kPositions;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const auto position = Position::parse(text.substr(0, comma));
    if (!position)
      return fail(ErrorCode::kInvalidArgument,
                  "\"to\" must be \"earliest\", \"latest\", a time like \"2026-11-20T21:00:00Z\", "
                  "or a seq per store shard like \"0-17\" or \"0-17,1-20\"");
    target.positions.push_back(*position);
    text.remove_prefix(std::min(text.size(), comma + 1));
  }
  if (target.positions.empty())
    return fail(ErrorCode::kInvalidArgument, "\"to\" is empty; write for example \"earliest\"");
  return target;
}

Result<uint64_t> resolve_target(storage::Store& store, const SeekTarget& target, uint16_t shard) {
  const uint64_t first = std::max<uint64_t>(store.shard_status(shard).first, 1);
  const uint64_t end = std::max(store.committed_end(shard), first);
  if (target.kind == SeekTarget::Kind::kEarliest) return first;
  if (target.kind == SeekTarget::Kind::kLatest) return end;
  if (const Position* at = target.position_in(shard)) return std::clamp(at->number, first, end);
  // Received times ascend, but for jumps of the wall clock.
  uint64_t low = first;
  uint64_t high = end;
  storage::ReadLimits limits;
  limits.max_events = 1;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    uint64_t found = end;
    int64_t received = INT64_MAX;
    auto read = store.read(shard, middle, limits, [&](const storage::StoredEvent& event) {
      found = event.position.number;
      received = event.received_ms;
      return false;
    });
    if (!read) return tl::unexpected(std::move(read).error());
    if (received >= target.wall_ms)
      high = middle;
    else
      low = found + 1;
  }
  return std::min(low, end);
}

}  // namespace weir::forwarder
