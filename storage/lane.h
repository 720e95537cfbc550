// A lane is anybody who works the log off: a forwarder destination or a pull consumer. This file is
// what is durable about one: its position. One shape for all: cursor -> batch -> apply -> mark.
//
// A lane's state per store shard is a frontier (the next number to be taken) and a bounded set of
// open ranges below it (in flight, leased, delayed). Everything below the frontier that is in no
// open range is finished. So low() = min(first open number, frontier) is what holds a segment.
//
// Changes go to the thread that owns the `state` environment as LaneUpdates; it coalesces what
// waits into one transaction and hands them back when it is durable.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/ids.h"
#include "storage/base/result.h"

namespace weir::storage {

enum class LaneKind : uint8_t { kDestination = 0, kConsumer = 1 };

// What happens when a lane's backlog reaches its limit.
enum class BacklogPolicy : uint8_t { kRefuseNew = 0, kDropOldest = 1 };

struct LaneOptions {
  std::string name;
  LaneKind kind = LaneKind::kDestination;
  uint64_t max_backlog_bytes = 0;  // 0: no limit but store.max_bytes
  int64_t max_backlog_age_ms = 0;  // 0: no limit
  BacklogPolicy policy = BacklogPolicy::kRefuseNew;
  bool from_latest = false;  // a new lane starts at the end instead of the beginning
  // A lane whose owner was not active for so long no longer holds what retention would delete: it
  // gives that up, counted as expired. 0: it holds for ever.
  int64_t max_idle_ms = 0;
  std::string note;  // of a new lane; see LaneState::note
};

enum class RangeState : uint8_t { kInFlight = 0, kLeased = 1, kDelayed = 2 };

// A durable batch: its boundaries and number are on disk before its first send, so a retry after a
// crash is the same batch under the same id.
struct OpenRange {
  uint64_t number = 0;  // from Store::next_batch_number(); unique in the store, never used again
  uint16_t shard = 0;
  uint64_t first = 0;  // inclusive
  uint64_t last = 0;   // inclusive
  RangeState state = RangeState::kInFlight;
  uint32_t attempts = 0;         // sends or leases so far
  int64_t opened_ms = 0;         // wall time
  int64_t first_attempt_ms = 0;  // wall time; the retry window counts from here
  int64_t not_before_ms = 0;     // wall time of the next attempt, or the lease's expiry
  std::string last_error;        // at most kMaxErrorBytes; with the status if there was one
  std::string owner;             // leases: who holds it; or kRequeued
  static constexpr size_t kMaxErrorBytes = 512;
  // The owner of a range that was given up and is to be sent after all: no batch, but what a lane
  // cuts its batches from.
  static constexpr std::string_view kRequeued = "requeued";
  bool requeued() const { return owner == kRequeued; }
};

struct LaneShard {
  uint64_t start = 1;     // the first number that ever was this lane's (from_latest starts late)
  uint64_t frontier = 1;  // the next number to be taken
  uint64_t floor = 1;     // everything below was given up (drop_oldest): nothing opens below it
  uint64_t ended = 0;     // of a removed destination: it takes nothing from here on; 0: it is there
  std::map<uint64_t, OpenRange> open;  // by batch number
  uint64_t low() const;                // the first unfinished number: what holds a segment
  // The same without what is sent once more on somebody's order: what counts against the limits.
  uint64_t backlog_low() const;
};

// Since the lane was made; an event that is replayed counts again.
struct OutcomeCounts {
  uint64_t sent = 0;
  uint64_t failed = 0;   // dead letters, not counting those that were sent or discarded later
  uint64_t expired = 0;  // given up as ranges: backlog limit or retry window
  uint64_t skipped = 0;  // filtered out for this lane, sandbox events: finished without a send
};

struct LaneState {
  std::string name;
  LaneKind kind = LaneKind::kDestination;
  std::vector<LaneShard> shards;  // one per store shard
  OutcomeCounts counts;
  std::map<std::string, OutcomeCounts, std::less<>> tenants;
  int64_t active_ms = 0;    // wall time of the owner's last sign of life; 0: never noted
  int64_t max_idle_ms = 0;  // as in LaneOptions; kept for lanes made at run time
  // The owner's own bytes, durable with the update that sets them; nobody else looks inside.
  std::string note;
  static constexpr size_t kMaxNoteBytes = 16 << 10;
  // A destination that is no longer configured. It keeps its position and holds nothing.
  bool removed() const { return !shards.empty() && shards.front().ended != 0; }
};

// A failed event, copied out of the log so that it outlives its segment.
struct DeadLetter {
  uint64_t id = 0;  // given by the store on append
  std::string lane;
  Position position;
  std::string tenant;
  std::string event_id;
  std::string event_name;
  int64_t received_ms = 0;
  int64_t first_attempt_ms = 0;
  int64_t failed_ms = 0;
  uint32_t attempts = 0;
  int status = 0;      // the destination's, 0 if it never answered
  std::string reason;  // short and stable, a metric label: "http_400", "too_large", "retry_window"
  std::string detail;  // the error in words, with a snippet of the answer
  bool requeued = false;          // waiting to be sent again
  uint32_t requeue_attempts = 0;  // since then, not yet counted in attempts
  int64_t requeued_ms = 0;        // when; the retry window counts from here
  std::string payload;            // the event record (base/event_record.h)
};

// One finished batch: with the dedupe sidecars this is the ledger.
struct DeliveryRow {
  uint64_t batch_number = 0;  // 0: a dead letter that was requeued and sent
  uint16_t shard = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  uint32_t attempts = 0;
  int status = 0;
  int64_t finished_ms = 0;
};

// A range given up: counted as failed, kept as a range instead of a copy per event.
struct ExpiredRange {
  uint16_t shard = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t events = 0;
  int64_t at_ms = 0;
  std::string reason;  // "max_backlog_bytes", "max_backlog_age", "retry_window"
};

// What a lane has finished and is to go over once more; numbers, inclusive.
struct ReplayRange {
  uint16_t shard = 0;
  uint64_t first = 0;
  uint64_t last = 0;
};
struct Replayed {
  uint64_t events = 0;   // open again
  uint64_t failed = 0;   // left out: dead letters, which have a requeue of their own, and discarded
  uint64_t pending = 0;  // left out: not finished, so they come anyway
};

// What one step of a lane changes, applied in one transaction: all of it or nothing.
// LIFETIME: lent to the store from LaneClient::submit() until it comes back. OWNS its strings.
//
// Counts: what the owner puts into counts and tenants is added as it is (sent and failed and
// skipped events of this step, expired ranges). dead_letter_changes correct the counts by
// themselves: kSent moves one from failed to sent, kDiscarded one from failed to expired; the owner
// adds nothing for them. A dead letter for an event that already has one replaces it and is not
// counted twice.
//
// Closing a batch number that is not open is nothing, not an error: it may have been cut.
struct LaneUpdate {
  std::string lane;
  std::vector<std::pair<uint16_t, uint64_t>> frontiers;  // (shard, new frontier); only forward, a
                                                         // lower one is ignored, unless seek
  bool seek = false;  // frontiers may move back; open ranges of the lane are dropped
  // Opened or changed (attempts, state, not_before). When they come back, `first` is where each
  // begins: later than it was, where the store gave up what was below meanwhile; beyond `last` if
  // nothing of it is left. What was given up counts as expired: its owner must not hand it out.
  std::vector<OpenRange> put;
  std::vector<uint64_t> close;  // batch numbers that are finished or were replaced
  OutcomeCounts counts;         // to be added
  std::map<std::string, OutcomeCounts, std::less<>> tenants;  // to be added
  std::vector<DeadLetter> dead_letters;  // durable before the rest of the update is
  std::vector<DeliveryRow> deliveries;
  std::vector<ExpiredRange> expired;
  // Dead letters that were sent after a requeue, failed again, or were discarded.
  struct DeadLetterChange {
    uint64_t id = 0;
    enum class Kind : uint8_t {
      kSent,
      kDiscarded,
      kRequeued,
      kRetried,  // requeued, tried and still waiting: only requeue_attempts and requeued_ms count
      kFailedAgain,
      kEdited,
    } kind{};
    DeadLetter replacement;  // kRetried, kFailedAgain, kEdited: what changes
  };
  std::vector<DeadLetterChange> dead_letter_changes;
  int64_t active_ms = 0;            // the owner is alive; 0: nothing to say
  std::optional<std::string> note;  // replaces LaneState::note; at most kMaxNoteBytes

  // Set before it comes back: what the lane must do next, not whether it was applied.
  // kLimit: dead_letter_max is reached, nothing was applied; stop until letters are discarded.
  // kNotFound: the lane was deleted. kNoSpace: state_bytes is too small. kIo: latched until
  // restart.
  Status outcome;
  // Set before it comes back: (shard, floor) where the store gave up old events of this lane
  // (drop_oldest). Forget batches below, go on reading at max(frontier, floor).
  std::vector<std::pair<uint16_t, uint64_t>> floors;
  void* context = nullptr;     // the owner's
  LaneUpdate* next = nullptr;  // the mailboxes'
};

}  // namespace weir::storage
