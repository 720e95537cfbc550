// What may be deleted, what a lane has to give up, and whether new events must be refused: one pure
// function over a description of the store, so that every rule can be tested with plain numbers.
// Path: cold (about once a second).  Thread: any; no state.
//
// What holds a segment: every lane that has not finished its last event, and the retention period.
// A lane's hold ends at its max_backlog (bytes or age), where its policy applies: refuse new events
// (the default), or drop the oldest, which makes an Expiry. An idle lane drops the oldest in any
// case, and gives up what retention would delete if it did not hold it. Above max_bytes, or short
// of disk space, finished segments go before their retention ends. With no lane only retention
// counts.
//
// Invariants
//   1. A segment is deleted only if every lane in the input has finished it.
//   2. Segments of a shard are deleted from the oldest on, without gaps, and only sealed ones.
//   3. A wall clock that jumps back makes nothing older: an event counts as received no earlier
//      than everything before it in its shard.
//   4. Nothing of a lane with the policy kRefuseNew is ever expired, unless it is idle.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/append.h"
#include "storage/lane.h"

namespace weir::storage {

struct RetentionSegment {
  uint64_t first = 0;  // numbers, inclusive; first > last: empty
  uint64_t last = 0;
  uint64_t bytes = 0;  // of the file and its sidecar
  bool sealed = false;
  int64_t oldest_ms = 0;  // received times
  int64_t newest_ms = 0;
};

struct RetentionLane {
  LaneOptions options;
  std::vector<uint64_t> low;  // per shard: the first unfinished number (LaneShard::low())
  // The same without what is sent once more on somebody's order, which holds its segments but is no
  // backlog (LaneShard::backlog_low()); empty: as low.
  std::vector<uint64_t> backlog;
  int64_t oldest_pending_ms = 0;  // received time of the backlog's oldest event; 0: none or unknown
  bool idle = false;  // its owner was silent for max_idle: it holds nothing past retention
};

struct RetentionInput {
  std::vector<std::vector<RetentionSegment>> shards;  // per shard, oldest first
  std::vector<RetentionLane> lanes;
  int64_t retention_ms = 0;
  uint64_t max_bytes = 0;       // resolved: never 0
  uint64_t reserve_bytes = 0;   // of free disk space
  uint64_t headroom_bytes = 0;  // finished segments go early this long before a limit is met
  uint64_t other_bytes = 0;     // what else counts against max_bytes: dead letters, state
  uint64_t disk_free_bytes = 0;
  int64_t now_ms = 0;
};

struct Deletion {
  unsigned shard = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  std::string_view reason;  // a metric label: "retention", "max_bytes", "disk_full"
};

// Give up everything unfinished up to and including last.
struct Expiry {
  std::string lane;
  unsigned shard = 0;
  uint64_t last = 0;
  // "max_backlog_bytes", "max_backlog_age", "store_max_bytes", "max_idle"
  std::string_view reason;
};

// How much of a limit is used up, and whose, in words. 100: new events are refused.
struct Fill {
  unsigned percent = 0;
  std::string detail;
};

struct RetentionPlan {
  std::vector<Deletion> deletions;  // per shard oldest first
  std::vector<Expiry> expiries;     // at most one per lane and shard
  Refusal refusal = Refusal::kNone;
  std::string detail;  // the refusal in words, with names, numbers and what to do
  Fill disk;           // by what may not be deleted, after the plan
  Fill lag;            // of the fullest backlog whose policy is to refuse new events
};

RetentionPlan plan_retention(const RetentionInput& input);

// Bytes of events a lane has not finished; within a segment estimated from the average event.
uint64_t backlog_bytes(const RetentionLane& lane,
                       const std::vector<std::vector<RetentionSegment>>& shards);

}  // namespace weir::storage
