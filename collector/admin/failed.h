// Failed events: list, show, requeue, edit, export, discard. What the store and the forwarder do
// with them is in storage/lane.h; this turns them into answers.
// Thread: the worker, all of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

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
  // One event a line; header Weir-Next tells where to go on. raw: only the clients' own objects.
  Reply export_page(storage::DeadLetterFilter filter, bool raw);
  Reply requeue(uint64_t id);
  Reply discard(uint64_t id);
  // Everything the filter matches: {"requeued":n} or {"discarded":n}.
  Reply requeue_all(storage::DeadLetterFilter filter);
  Reply discard_all(storage::DeadLetterFilter filter);
  Reply edit(uint64_t id, std::string_view new_raw);

 private:
  using Change = storage::LaneUpdate::DeadLetterChange;

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
