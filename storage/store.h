// The store: everything the rest of Weir may do with what is on disk.
//
// Write:   make_appender() per reactor; dedupe -> append -> commit -> outcome (append.h).
// Read:    read() from a position; short transactions, bytes copied out or used inside the
// callback. Mark:    make_lane_client() per lane owner; positions, dead letters, delivery rows
// (lane.h). Delete:  segments that no lane and no retention period holds go by themselves.
//
// Files in the data directory (docs/storage-format.md): lock, state, state.copy, seg-*.weir, *.fp
// (dedupe sidecars), dead-*.weir, damaged/.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/append.h"
#include "storage/base/clock.h"
#include "storage/base/function_ref.h"
#include "storage/base/ids.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/lane.h"
#include "storage/pressure.h"

namespace weir::storage {

struct StoreOptions {
  std::string directory = "./weir-data";
  unsigned shards = 1;                           // fixed when the directory is created
  uint64_t segment_bytes = uint64_t{256} << 20;  // map size of one segment file
  int64_t segment_age_ms = 3'600'000;            // a non-empty segment is sealed at this age
  bool zero_fill = true;   // segments are filled with zeros before they are needed
  uint64_t max_bytes = 0;  // 0: 80 % of the file system
  uint64_t reserve_bytes = uint64_t{64} << 20;  // refuse new events when less is free on disk
  int64_t retention_ms = 7LL * 86'400'000;
  uint64_t commit_max_events = 16'384;
  uint64_t commit_max_bytes = uint64_t{8} << 20;
  int64_t commit_deadline_ms = 10'000;
  uint64_t append_queue_bytes = uint64_t{256} << 20;
  uint64_t state_bytes = uint64_t{64} << 20;  // zero-filled at creation
  int64_t dedupe_window_ms = 24LL * 3'600'000;
  uint64_t dedupe_max_entries = 20'000'000;
  uint64_t dead_letter_max = 1'000'000;  // past it the lane stops instead of losing events
  PressureLimits pressure;
  std::vector<LaneOptions> lanes;  // configured destinations, declared consumers
};

struct StoredEvent {
  Position position;
  int64_t received_ms = 0;
  Fingerprint fingerprint;
  std::string_view payload;  // base/event_record.h; valid during the callback only
};

struct ReadLimits {
  uint64_t last = UINT64_MAX;  // inclusive
  uint64_t max_events = 1'000;
  uint64_t max_bytes = uint64_t{4} << 20;  // of payload; at least one event is always returned
};

struct ReadResult {
  uint64_t next = 0;  // where to read on; every number below it was returned or is gone
  uint64_t events = 0;
  uint64_t bytes = 0;
  uint64_t missing = 0;  // numbers in gaps: set aside as damaged, erased or deleted
  bool at_end = false;   // nothing committed at or after next
};

// One owner thread's door to the state thread, like an Appender.
class LaneClient {
 public:
  virtual ~LaneClient() = default;
  virtual void submit(LaneUpdate& update) = 0;  // lends update
  virtual LaneUpdate* take_outcomes() = 0;      // linked by next, in order of submission per client
};

struct ShardStatus {
  uint64_t first = 0;  // lowest number still on disk
  uint64_t end = 0;    // next number to be committed
  uint64_t bytes = 0;
  uint64_t segments = 0;
  uint64_t damaged_segments = 0;
  uint64_t dedupe_entries = 0;
  int64_t dedupe_window_ms = 0;  // the effective one
};

struct TenantTotals {
  uint64_t accepted = 0;
};

struct StoreTotals {
  uint64_t accepted = 0;    // ever, including events whose segments are gone
  uint64_t duplicates = 0;  // since the process started
  std::map<std::string, TenantTotals, std::less<>> tenants;
};

// pending, sent, failed as api.md defines them: failed if any lane failed the event, sent when
// every lane has sent it, else pending; with no lane everything is pending.
struct EventStates {
  uint64_t pending = 0;
  uint64_t sent = 0;
  uint64_t failed = 0;
};
struct FreshCounts {
  EventStates total;
  std::map<std::string, EventStates, std::less<>> tenants;
  std::map<std::string, EventStates, std::less<>> lanes;
};

struct DeadLetterFilter {
  std::string lane;              // empty: any
  std::string reason;            // empty: any
  std::string tenant;            // empty: any
  std::string name;              // of the event; empty: any
  std::string event_id;          // empty: any
  int64_t since_ms = INT64_MIN;  // failed at or after
  int64_t until_ms = INT64_MAX;  // failed before
  uint64_t after_id = 0;
  size_t limit = 100;
  bool with_payload = false;
};

// Where an event lies.
struct EventPlace {
  std::string file;  // in the data directory
  uint64_t first = 0;
  uint64_t last = 0;
  bool sealed = false;
  int64_t committed_ms = 0;  // of the group commit that made it durable
};

class Store {
 public:
  // Takes the directory's lock, repairs or sets aside what is damaged, rebuilds the dedupe index,
  // starts the writer and state threads. Errors name the file and what to do.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options, const Clock& clock,
                                             MetricRegistry& metrics);
  virtual ~Store() = default;  // stop() first

  // Commits what was lent, refuses what comes later, stops the threads. Idempotent. Appenders and
  // lane clients must be destroyed before the Store, after it stopped.
  virtual void stop() = 0;

  virtual const StoreId& id() const = 0;
  virtual const DedupeSecret& dedupe_secret() const = 0;
  virtual unsigned shards() const = 0;

  // ---- write. Any thread; one relaxed load. kNone: the next commit can succeed.
  Refusal admission() const { return admission_.load(std::memory_order_relaxed); }
  virtual std::string admission_detail() const = 0;  // the reason in words, for logs and /readyz
  // How near disk and backlogs are to that; one relaxed load.
  Pressure pressure() const { return pressure_.load(std::memory_order_relaxed); }
  virtual std::string pressure_detail() const = 0;
  PressureLimits pressure_limits() const { return pressure_limits_.get(); }
  void set_pressure_limits(const PressureLimits& limits) { pressure_limits_.set(limits); }
  virtual unsigned append_queue_percent() const = 0;  // of append_queue_bytes; one relaxed load
  // Refuses new events (Refusal::kDraining) until it is called with false.
  virtual void set_draining(bool draining) = 0;
  virtual std::unique_ptr<Appender> make_appender(Wakeup& wakeup) = 0;

  // ---- read. Any thread.
  virtual ShardStatus shard_status(unsigned shard) const = 0;
  virtual uint64_t committed_end(unsigned shard) const = 0;  // one atomic load
  // Calls visit for each event from `from` on, in order, until it returns false or a limit is met.
  // No transaction is held when it returns.
  virtual Result<ReadResult> read(unsigned shard, uint64_t from, const ReadLimits& limits,
                                  FunctionRef<bool(const StoredEvent&)> visit) = 0;
  // The position of an event by its idempotency key, if the sidecars or the index still know it.
  virtual Result<std::optional<Position>> find(std::string_view tenant, std::string_view key) = 0;
  // kNotFound: not on disk (any more).
  virtual Result<EventPlace> place(Position position) const = 0;
  // Notified after each commit (at most once until the owner resets it). LIFETIME: until
  // unsubscribe.
  virtual void subscribe(Wakeup& wakeup) = 0;
  virtual void unsubscribe(Wakeup& wakeup) = 0;

  // ---- mark. Any thread, except where a LaneClient says otherwise.
  virtual uint64_t next_batch_number() = 0;                 // durable: never handed out twice
  virtual std::string batch_id(uint64_t number) const = 0;  // "<store id>-<number in hex>"
  virtual Result<LaneState> lane(std::string_view name) const = 0;
  virtual std::vector<LaneState> lanes() const = 0;
  virtual std::unique_ptr<LaneClient> make_lane_client(Wakeup& wakeup) = 0;
  // Creates a lane at run time (a consumer named in a request). Durable when it returns.
  virtual Status create_lane(const LaneOptions& options) = 0;
  virtual Status delete_lane(std::string_view name) = 0;
  // The configuration changed: makes lanes that are missing, gives the others their options, lets
  // go of segments held by destinations that are not in it. All or nothing, durable on return.
  virtual Status configure_lanes(const std::vector<LaneOptions>& lanes) = 0;
  // Received time of the lane's oldest unfinished event, 0 when it has none.
  virtual int64_t oldest_pending_ms(std::string_view lane) const = 0;

  // ---- count.
  virtual StoreTotals totals() const = 0;          // cheap: counters
  virtual Result<FreshCounts> fresh_counts() = 0;  // exact: positions, dead letters, commit blocks

  // ---- dead letters.
  virtual Result<std::vector<DeadLetter>> dead_letters(const DeadLetterFilter& filter) = 0;
  virtual Result<DeadLetter> dead_letter(uint64_t id) = 0;
  virtual Result<std::vector<DeliveryRow>> deliveries(std::string_view lane, Position position) = 0;
  virtual Result<std::vector<ExpiredRange>> expired(std::string_view lane) = 0;
  // Makes expired ranges open again (OpenRange::requeued()), as far as their rows are still there
  // and their events on disk; returns how many events. The lane's owner has to be woken.
  virtual Result<uint64_t> requeue_expired(std::string_view lane,
                                           const std::vector<ExpiredRange>& ranges) = 0;
  // Opens what the lane has finished of the ranges once more (OpenRange::requeued()), what it gave
  // up as well. kBusy: some of it was deleted meanwhile. The lane's owner has to be woken.
  virtual Result<Replayed> replay(std::string_view lane,
                                  const std::vector<ReplayRange>& ranges) = 0;

 protected:
  std::atomic<Refusal> admission_{Refusal::kNone};
  std::atomic<Pressure> pressure_{};
  SharedPressureLimits pressure_limits_;
};

// ---- tools; work on a directory whether or not a server has it open (they only read).

struct VerifyReport {
  uint64_t segments = 0;
  uint64_t events = 0;
  uint64_t sidecars = 0;
  uint64_t dead_letters = 0;
  std::vector<std::string> problems;  // file, place, what is wrong; empty: everything is sound
  bool ok() const { return problems.empty(); }
};
// Checks every record's checksum and grammar and every cross-reference: commit blocks against
// records, sidecars against segments, positions against what exists, store id and secret
// everywhere.
Result<VerifyReport> verify_store(const std::string& directory);

struct InspectRow {
  std::string file;
  std::string kind;  // segment, sidecar, state, dead letters, damaged
  std::string state;
  unsigned shard = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t events = 0;
  uint64_t bytes = 0;
  int64_t oldest_ms = 0;
  int64_t newest_ms = 0;
};
struct InspectReport {
  std::string store_id;
  unsigned shards = 0;
  std::vector<InspectRow> files;
  std::vector<LaneState> lanes;
};
Result<InspectReport> inspect_store(const std::string& directory);

// Calls visit for every event on disk, by shard and number, until it returns false. Returns what
// had to be left out because it is damaged, in words.
Result<std::vector<std::string>> export_store(const std::string& directory,
                                              FunctionRef<bool(const StoredEvent&)> visit);

}  // namespace weir::storage
