// Failed events, copied out of the log so that they outlive their segments: append-only files
// dead-<n>.weir (LMDB, one record per entry with its own checksum), where later records change
// earlier ones (requeued, failed again, edited, sent, discarded).
// Path: cold.  Thread: appends belong to the state thread; reading is for any thread.
//
// Two phases, because a letter belongs to a lane update in another file: append() makes the records
// durable, then the update commits together with the mark (the highest confirmed record), then
// confirm() makes them visible. Records above the mark at start belong to an update that never
// committed; its batch is still open and will fail again, so they are dropped.
//
// Invariants
//   1. One live letter per lane and position: a second one replaces the first.
//   2. A letter whose update was confirmed is found after any crash.
//   3. A damaged file is set aside, counted and logged; the others go on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/lane.h"
#include "storage/state.h"
#include "storage/store.h"

namespace weir::storage {

class DeadLetters {
 public:
  struct Options {
    std::string directory;
    StoreId store_id;
    uint64_t max_letters = 0;
    uint64_t file_bytes = 0;  // map size of one file; 0: the default
  };
  // The mark of a state that does not know (it was restored from something older): keep all.
  static constexpr uint64_t kKeepAll = ~uint64_t{0};

  // Checks each file in a child process, sets damaged ones aside, drops records above the mark.
  static Result<std::unique_ptr<DeadLetters>> open(const Options& options, uint64_t confirmed,
                                                   const Clock& clock, MetricRegistry& metrics);
  virtual ~DeadLetters() = default;

  // ---- any thread
  // Live letters in the order of their ids.
  virtual Result<std::vector<DeadLetter>> list(const DeadLetterFilter& filter) const = 0;
  virtual Result<DeadLetter> get(uint64_t id) const = 0;
  virtual uint64_t size() const = 0;
  // (lane, reason) -> live letters.
  virtual std::map<std::pair<std::string, std::string>, uint64_t> counts() const = 0;
  virtual uint64_t bytes() const = 0;  // of the files
  // The live letters of all lanes for one event, and the numbers of all of a shard in [first,
  // last], or of one lane.
  virtual std::vector<StateSnapshot::Failed> failed_at(Position position) const = 0;
  virtual std::set<uint64_t> numbers(unsigned shard, uint64_t first, uint64_t last,
                                     std::string_view lane = {}) const = 0;
  virtual std::vector<StateSnapshot::Failed> failed() const = 0;

  // ---- state thread
  // What the changes of an update mean for the counts of its lane, per tenant.
  struct Effect {
    uint64_t mark = 0;                         // to be committed with the update
    std::map<std::string, uint64_t> replaced;  // letters that took the place of an older one
    std::vector<std::pair<std::string, Position>> sent;
    std::vector<std::pair<std::string, Position>> discarded;
  };
  // Makes the letters and changes of one update durable, not yet visible. Letters or changes that
  // are already there (an update applied again) change nothing. kLimit: max_letters is reached.
  // Followed by confirm() or rollback() before the next append.
  virtual Result<Effect> append(const LaneUpdate& update) = 0;
  virtual void confirm() = 0;         // the mark is durable: makes them visible, deletes files
  virtual void rollback() = 0;        // the update failed: takes the records back
  virtual uint64_t mark() const = 0;  // the highest record in the files
};

struct DeadLetterInspection {
  uint64_t files = 0;
  uint64_t records = 0;
  uint64_t letters = 0;  // live ones
  std::vector<std::string> problems;
};
DeadLetterInspection inspect_dead_letters(const std::string& directory);

}  // namespace weir::storage
