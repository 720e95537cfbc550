// The ledger: what became of one event. Nothing is written for it: the dedupe sidecars know where
// the event lies, the lanes' positions, open ranges, delivery rows, dead letters and expired ranges
// say what each destination and consumer did with it.
// Thread: the worker, all of it.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/admin/reply.h"
#include "forwarder/forwarder.h"
#include "storage/base/clock.h"
#include "storage/store.h"

namespace weir::admin {

class Ledger {
 public:
  static constexpr size_t kMaxTenants = 1000;  // asked in turn when none is named

  // LIFETIME: everything outlives this. forwarder may be null until it was started.
  Ledger(storage::Store& store, const std::atomic<forwarder::Forwarder*>& forwarder)
      : store_(store), forwarder_(forwarder) {}

  // id: the client's, the one Weir gave ("<store id>-<seq>"), or a seq ("<shard>-<number>").
  // Without a tenant every tenant's event of that id is told. 404 when there is none.
  Reply answer(const std::string& id, const std::string& tenant, bool text);

 private:
  // What one destination or consumer did with the event.
  struct Fate {
    std::string lane;
    storage::LaneKind kind = storage::LaneKind::kDestination;
    std::string_view state;  // pending, in_flight, leased, delayed, sent, failed, expired, skipped
    std::string reason;
    uint32_t attempts = 0;
    std::string batch_id;
    int status = 0;
    std::string last_error;
    std::string owner;
    int64_t finished_ms = 0;
    int64_t until_ms = 0;  // the next attempt, or the end of the lease
    uint64_t failed_id = 0;
  };
  struct History {
    Position position;
    std::string id;
    std::string tenant;
    std::string name;
    int64_t received_ms = 0;
    std::string record;  // empty: no longer on disk
    std::optional<storage::EventPlace> place;
    std::vector<Fate> fates;
  };

  Result<std::vector<Position>> find(const std::string& id, const std::string& tenant);
  std::optional<Position> position_of(std::string_view id) const;
  Result<History> history(Position position);
  Result<Fate> fate(const storage::LaneState& lane, const History& event,
                    const std::vector<storage::DeadLetter>& letters);
  static void tell_range(const storage::OpenRange& range, Fate* fate);
  Status tell_finished(const History& event, Fate* fate);
  std::string json(const std::vector<History>& events) const;
  static std::string text(const std::vector<History>& events);

  storage::Store& store_;
  const std::atomic<forwarder::Forwarder*>& forwarder_;
};

}  // namespace weir::admin
