// The `state` environment: who this store is, how far every lane got, what was deleted. One small
// LMDB file, zero-filled to its full size when it is made, so that marks succeed on a full disk.
// Path: warm (per batch).  Thread: its own; the public functions are for any thread unless they say
// otherwise.
//
// Invariants
//   1. A LaneUpdate comes back with success only after the sync that covers it.
//   2. Updates of one client come back in the order in which they were submitted; each is applied
//      as a whole or not at all.
//   3. What the readers here (lane(), past(), ...) return is durable.
//   4. After a failed sync nothing is written any more (failure()).
//   5. Positions read back after damage are older than or equal to the true ones, never newer.
//
// Starting, in this order (all on the opening thread, before the process has other threads, because
// the file is checked in a forked child):
//   auto state = State::open(...);          identity, lowest live numbers, lanes as they were
//   ... open the segments, unlink those below past(shard).lowest_live ...
//   state->start(lanes, ends);              creates configured lanes, drops unconfirmed dead
//                                           letters, starts the thread
// See docs/crash-matrix.md for what each crash leaves behind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "storage/base/ids.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/lane.h"
#include "storage/log_view.h"
#include "storage/retention.h"
#include "storage/store.h"

namespace weir::storage {

class DeadLetters;

// Made once with the data directory; the log half repeats it in every segment.
struct StoreIdentity {
  StoreId id;
  DedupeSecret secret;
  uint16_t shards = 1;

  static StoreIdentity generate(unsigned shards);
};

// What is left of the deleted segments of one shard.
struct ShardPast {
  uint64_t lowest_live = 1;  // numbers below are deleted; files that hold only such are leftovers
  TenantCounts accepted;     // events in deleted segments
  TenantCounts failed;       // of these: given up by some lane, without those that still have a
                             // dead letter
  TenantCounts unfinished;   // of these: deleted by retention while no lane had finished them
};

// The decision to delete the oldest segment of a shard.
struct SegmentTrim {
  unsigned shard = 0;
  uint64_t last = 0;      // the segment's last number; last + 1 becomes the lowest live one
  TenantCounts accepted;  // its events
};

// Where the state was read from.
enum class StateOrigin : uint8_t {
  kCreated,   // a new data directory
  kLoaded,    // the state file
  kCopy,      // state was damaged or missing; state.copy took its place: lanes send again
  kSegments,  // both were; identity from the segments, every lane starts at the earliest
};

// Everything fresh_counts() needs, taken at one moment.
struct StateSnapshot {
  std::vector<ShardPast> past;   // per shard
  std::vector<LaneState> lanes;  // those that are configured or consumers
  std::map<std::string, std::vector<ExpiredRange>> expired;  // by lane
  struct Failed {
    std::string lane;
    std::string tenant;
    Position position;
  };
  std::vector<Failed> failed;  // live dead letters
};

class State {
 public:
  // Asked when neither state nor state.copy is usable: the identity repeated in the segments, or
  // nothing when there are none.
  using RecoverIdentity = std::function<Result<std::optional<StoreIdentity>>()>;

  // Opens or creates state in options.directory, which exists and is locked by this process. A
  // damaged file is moved to damaged/ and served around; errors are left for what nobody can work
  // around (permissions, no space to create, another number of shards than the directory's).
  static Result<std::unique_ptr<State>> open(const StoreOptions& options, const Clock& clock,
                                             MetricRegistry& metrics,
                                             const RecoverIdentity& recover_identity);
  virtual ~State() = default;  // stop() first

  virtual const StoreIdentity& identity() const = 0;
  virtual StateOrigin origin() const = 0;
  // The last process stopped cleanly: what the page cache shows of the segments is on disk.
  virtual bool was_clean_stop() const = 0;

  // Makes the configured lanes that do not exist (ends: next number per shard, for from_latest),
  // lets go of segments held by destinations that are no longer configured, starts the thread.
  virtual Status start(const std::vector<LaneOptions>& lanes,
                       const std::vector<uint64_t>& ends) = 0;
  // Applies what was submitted, ends the thread. clean: every segment is on disk as the page cache
  // shows it (no failed sync), so the next start may believe it without looking. Idempotent.
  virtual void stop(bool clean) = 0;
  void stop() { stop(true); }
  // The reason of the failed sync, once there was one; a success as long as marks can succeed.
  virtual Status failure() const = 0;

  // ---- lanes
  virtual Result<LaneState> lane(std::string_view name) const = 0;
  virtual std::vector<LaneState> lanes() const = 0;
  virtual std::unique_ptr<LaneClient> make_lane_client(Wakeup& wakeup) = 0;
  virtual Status create_lane(const LaneOptions& lane, const std::vector<uint64_t>& ends) = 0;
  virtual Status delete_lane(std::string_view name) = 0;
  // As Store::configure_lanes and Store::requeue_expired.
  virtual Status configure_lanes(const std::vector<LaneOptions>& lanes,
                                 const std::vector<uint64_t>& ends) = 0;
  virtual Result<uint64_t> requeue_expired(std::string_view lane,
                                           const std::vector<ExpiredRange>& ranges,
                                           const LogView& log) = 0;
  virtual Result<Replayed> replay(std::string_view lane, const std::vector<ReplayRange>& ranges,
                                  const LogView& log) = 0;  // as Store::replay
  virtual uint64_t next_batch_number() = 0;                 // never blocks
  virtual Result<std::vector<DeliveryRow>> deliveries(std::string_view lane,
                                                      Position position) const = 0;
  virtual Result<std::vector<ExpiredRange>> expired(std::string_view lane) const = 0;
  virtual DeadLetters& dead_letters() = 0;
  virtual const DeadLetters& dead_letters() const = 0;

  // ---- retention. Each is durable when it returns.
  virtual ShardPast past(unsigned shard) const = 0;
  // The lanes that hold segments, as plan_retention() takes them (oldest_pending_ms is left 0).
  virtual std::vector<RetentionLane> retention_lanes() const = 0;
  // Gives up old events of lanes. log: counts what is given up, per tenant.
  virtual Status expire(const std::vector<Expiry>& expiries, const LogView& log) = 0;
  // Commits the deletion of a segment; only then may the file be unlinked. Prunes the delivery rows
  // and expired ranges that describe it. log must still have the segment.
  virtual Status trim(const SegmentTrim& trim, const LogView& log) = 0;

  virtual StateSnapshot snapshot() const = 0;

  // Writes state.copy now (the thread does it by itself once a minute when something changed).
  virtual Status write_copy() = 0;
};

// Received time of the oldest event the lane has not finished; 0 when it has none.
int64_t oldest_pending_ms(const LaneState& lane, const LogView& log);

// ---- for verify and inspect: reads `state` of a directory that may be in use. The file is checked
// in a child process first. problems: one line each; lanes and identity are empty when unreadable.
struct StateInspection {
  std::optional<StoreIdentity> identity;
  std::vector<LaneState> lanes;
  std::vector<ShardPast> past;
  uint64_t delivery_rows = 0;
  std::vector<std::string> problems;
};
StateInspection inspect_state(const std::string& path);

}  // namespace weir::storage
