// One transaction of state: working copies of what it changes, written together, published when the
// commit returned. Nothing published is ever changed in place.
// Path: warm (per batch).  Thread: the state thread (published parts: any, under the mutex).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/dead_letters.h"
#include "storage/lane_changes.h"
#include "storage/lmdb_file.h"
#include "storage/log_view.h"
#include "storage/state_format.h"

namespace weir::storage {

// What is durable.
struct PublishedState {
  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<const LaneRecord>, std::less<>> lanes;
  std::vector<ShardPast> past;

  std::shared_ptr<const LaneRecord> lane(std::string_view name) const;
  std::vector<std::shared_ptr<const LaneRecord>> all_lanes() const;
};

// Rows of the ledger per lane and shard; the oldest go when there are too many.
using DeliveryCounts = std::map<std::pair<uint32_t, uint16_t>, uint64_t>;

class StateWork {
 public:
  static Result<StateWork> begin(LmdbFile& file, PublishedState& published,
                                 const DeliveryCounts& deliveries);

  // The lane's working copy, or null when there is no such lane.
  LaneRecord* lane(std::string_view name);
  LaneDelta& delta(const LaneRecord& lane) { return lanes_[lane.state.name].delta; }
  std::vector<std::string> lane_names() const;
  Status add_lane(LaneRecord record);
  Status remove_lane(std::string_view name);
  std::vector<ShardPast>& past();
  void touch_past_tenant(unsigned shard, std::string_view tenant);

  Status put_number(const std::string& key, uint64_t number);
  // Adds a row; when the lane has max_rows in the shard, its oldest make room.
  Status add_delivery(const LaneRecord& lane, const DeliveryRow& row, uint64_t max_rows);
  // Removes up to limit rows of the shard that end at or before last, of every lane.
  Status prune_deliveries(unsigned shard, uint64_t last, size_t limit);
  // Removes the oldest share of all rows, for want of space.
  Status shed_deliveries(unsigned percent);

  // Writes what changed, syncs, publishes.
  Status commit(DeliveryCounts* deliveries);

 private:
  struct Working {
    std::unique_ptr<LaneRecord> record;  // null: removed, or not loaded (delta unused)
    LaneDelta delta;
    bool added = false;
    bool removed = false;
  };

  StateWork(LmdbTxn txn, PublishedState& published, const DeliveryCounts& deliveries)
      : txn_(std::move(txn)), published_(&published), deliveries_(deliveries) {}
  Status put(const std::string& key, std::string payload);
  Status write_changes();
  Status write_lane_changes(const LaneRecord& lane, const LaneDelta& delta);
  Status erase_prefix(const std::string& prefix);
  Status erase_oldest_rows(uint32_t lane, uint16_t shard, uint64_t last, size_t limit);

  LmdbTxn txn_;
  PublishedState* published_;
  DeliveryCounts deliveries_;
  std::map<std::string, Working, std::less<>> lanes_;
  std::optional<std::vector<ShardPast>> past_;
  std::set<std::pair<unsigned, std::string>> past_tenants_;
};

// ---- the operations, each inside one transaction

// Applies one update, with what the dead letters said about its letters (null: it has none).
// REQUIRES: check_update() agreed.
Status apply_lane_update(StateWork& work, LaneRecord& lane, const LaneUpdate& update,
                         const DeadLetters::Effect* effect, const DeadLetters& letters,
                         int64_t now_ms, uint64_t max_rows);

Status apply_expiry(StateWork& work, const Expiry& expiry, const LogView& log, int64_t now_ms,
                    uint64_t* events);

Status apply_trim(StateWork& work, const SegmentTrim& trim, const LogView& log,
                  const DeadLetters& letters);

// Opens an expired range again under the number, if its row is still there as `range` says and its
// events are on disk; adds how many they are to *events.
Status apply_requeue(StateWork& work, LaneRecord& lane, const ExpiredRange& range, uint64_t number,
                     const LogView& log, int64_t now_ms, uint64_t* events);

// Adds what of the range is to be opened again, without numbers, to *opened; counts into
// *replayed. kBusy: some of it is deleted.
Status plan_replay(StateWork& work, const LaneRecord& lane, const ReplayRange& range,
                   const LogView& log, const DeadLetters& letters, int64_t now_ms,
                   LaneUpdate* opened, Replayed* replayed);
// What of the range was given up no longer is; nothing keeps it from being opened any more.
Status reopen_given_up(StateWork& work, LaneRecord& lane, const OpenRange& range,
                       const LogView& log);

// A lane that starts now: at 1, or at the ends.
LaneRecord make_lane(uint32_t id, const LaneOptions& options, unsigned shards,
                     const std::vector<uint64_t>& ends);

}  // namespace weir::storage
