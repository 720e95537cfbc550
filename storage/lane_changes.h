// What an update, an expiry or a deleted segment does to one lane: pure changes of a LaneRecord,
// noting what has to be written.
// Path: warm (per batch).  Thread: the state thread; no state of its own.
//
// Invariants
//   1. check_update() decides before anything is changed; apply_update() cannot fail.
//   2. An event is given up (expired) or in an open range, never both: what an owner opens although
//      the store gave it up meanwhile is cut.
//   3. Open ranges stay below the frontier only if their owner put them there; low() never moves
//      back except by a put of an older range or a seek.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "storage/interval_set.h"
#include "storage/state_format.h"

namespace weir::storage {

// The open ranges of one lane are bounded; whoever leases or sends waits until some close.
#ifdef WEIR_TINY_LIMITS
constexpr size_t kMaxOpenRanges = 64;
constexpr size_t kMaxExpiredRows = 16;
#else
constexpr size_t kMaxOpenRanges = 65'536;
constexpr size_t kMaxExpiredRows = 4'096;
#endif

// Which entries of the lane changed, to be written in the same transaction.
struct LaneDelta {
  std::set<uint64_t> ranges;  // batch numbers: put if open in the lane, else erased
  std::set<std::string, std::less<>> tenants;
  std::set<ExpiredKey> expired;  // put if in the lane, else erased
};

// The open range with this batch number, or null.
const OpenRange* find_range(const LaneState& lane, uint64_t batch);

// kInvalidArgument: the update makes no sense; kLimit: too many open ranges.
Status check_update(const LaneRecord& lane, const LaneUpdate& update);
void apply_update(LaneRecord& lane, const LaneUpdate& update, LaneDelta* delta);

// Adds a range that was given up; merges it with its neighbours, so that a dead destination's
// thousands of batches are one row.
void add_expired(LaneRecord& lane, const ExpiredRange& range, LaneDelta* delta);

// What the lane has not finished of [first, last].
IntervalSet unfinished(const LaneShard& shard, uint64_t first, uint64_t last);

// Gives up everything unfinished up to last: drops the open ranges that lie below it as a whole (a
// batch that reaches beyond stays as it is, because it never changes its contents; a requeued range
// is cut), moves frontier and floor. What was given up; count it before, rows are the caller's.
IntervalSet give_up_through(LaneRecord& lane, unsigned shard, uint64_t last, LaneDelta* delta);

// Removes the rows of expired ranges up to last, except for the numbers in keep.
void drop_expired_through(LaneRecord& lane, unsigned shard, uint64_t last,
                          const std::set<uint64_t>& keep, LaneDelta* delta);

}  // namespace weir::storage
