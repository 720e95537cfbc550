// A place in the log as people and central servers name it, for seeks and replays.
// Path: cold.  Thread: any; no state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/result.h"
#include "storage/store.h"

namespace weir::forwarder {

struct SeekTarget {
  enum class Kind : uint8_t { kEarliest, kLatest, kTime, kPositions } kind = Kind::kEarliest;
  int64_t wall_ms = 0;                // kTime: the first event received at or after it
  std::vector<Position> positions{};  // kPositions: the next event of each store shard named

  // The position it names in the shard; null for every other kind, and for shards it leaves out.
  const Position* position_in(uint16_t shard) const;
  // False only for one that names positions, of other shards.
  bool names_shard(uint16_t shard) const {
    return kind != Kind::kPositions || position_in(shard) != nullptr;
  }
};

// "earliest", "latest", a time (RFC 3339), "0-17", or "0-17,1-20".
Result<SeekTarget> parse_seek(std::string_view text);

// The number the target means in a store shard, from the first on disk to the next to be committed.
// REQUIRES: target.names_shard(shard).
Result<uint64_t> resolve_target(storage::Store& store, const SeekTarget& target, uint16_t shard);

}  // namespace weir::forwarder
