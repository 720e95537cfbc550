// Failed events: list, show, requeue, edit, export, discard; ranges that expired. What the store
// and the forwarder do with them is in storage/lane.h; this turns them into answers. Thread: the
// worker, all of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/admin/failed_text.h"
#include "collector/admin/reply.h"
#include "storage/base/wakeup.h"
#include "storage/store.h"

namespace weir::admin {

// Makes the record of an edited event: the old record's, with the client's object replaced by
// new_raw. Errors say what is wrong with new_raw.
using EventEditor =
    std::function<Result<std::string>(std::string_view old_record, std::string_view new_raw)>;

class FailedEvents {
 public:
  static constexpr size_t kPage = 500;  // dead letters touched by one update

  // wake_forwarder: called after events were requeued. LIFETIME: the store outlives this, and is
  // stopped before this is destroyed.
  FailedEvents(storage::Store& store, EventEditor edit, std::function<void()> wake_forwarder);
  ~FailedEvents();

  // {"failed":[…],"next":<id to pass as after, or null>}
  Reply list(const storage::DeadLetterFilter& filter, bool text);
  Reply show(uint64_t id, bool text);
  // One event a line; header Weir-Next tells where to go on. kRaw: only the clients' own objects.
  enum class Export : uint8_t { kNdjson, kRaw, kCsv };
  Reply export_page(storage::DeadLetterFilter filter, Export format);
  Reply requeue(uint64_t id);
  Reply discard(uint64_t id);
  // Everything the filter matches: {"requeued":n} or {"discarded":n}.
  Reply requeue_all(storage::DeadLetterFilter filter);
  Reply discard_all(storage::DeadLetterFilter filter);
  Reply edit(uint64_t id, std::string_view new_raw);

  // Ranges that were given up: {"expired":[…]}.
  struct ExpiredFilter {
    std::string lane;    // empty: any
    std::string reason;  // empty: any
    std::optional<uint16_t> shard;
    std::optional<uint64_t> first;
  };
  Reply expired(const ExpiredFilter& filter, bool text);
  // Sends them after all, as far as they are on disk: {"requeued":events,"gone":events}.
  Reply requeue_expired(const ExpiredFilter& filter);

 private:
  using Change = storage::LaneUpdate::DeadLetterChange;

  Result<std::vector<GivenUp>> given_up(const ExpiredFilter& filter) const;
  Reply change_one(uint64_t id, Change::Kind kind, std::string_view done);
  Reply change_all(storage::DeadLetterFilter filter, Change::Kind kind, std::string_view done);
  // Durable when it returns without an error.
  Status apply(const std::string& lane, std::vector<Change> changes);

  storage::Store& store_;
  EventEditor edit_;
  std::function<void()> wake_forwarder_;
  Wakeup wakeup_;
  std::unique_ptr<storage::LaneClient> client_;
  // Lent to the store; normally one, more only after a timeout.
  std::vector<std::unique_ptr<storage::LaneUpdate>> lent_;
};

}  // namespace weir::admin
