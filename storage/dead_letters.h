// Failed events, copied out of the log so that they outlive their segments: append-only files
// dead-<n>.weir (LMDB, one record per entry with its own checksum), where later records change
// earlier ones (requeued, failed again, edited, sent, discarded).
// Path: cold.  Thread: appends belong to the state thread; reading is for any thread.
//
// Two phases, because a letter belongs to a lane update in another file: append() makes the records
// durable, then the update commits together with the mark confirmed_through(), then confirm() makes
// them visible. Records above the mark at start belong to an update that never committed; its batch
// is still open and will fail again, so they are dropped.
//
// Invariants
//   1. One live letter per lane and position: a second one replaces the first.
//   2. A letter whose update was confirmed is found after any crash.
//   3. A damaged file is set aside, counted and logged; the others go on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/lane.h"
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
  // confirmed: the mark from state; records above it are dropped unless keep_unconfirmed (state
  // itself was restored from something older, so the mark says nothing).
  static Result<std::unique_ptr<DeadLetters>> open(const Options& options, uint64_t confirmed,
                                                   bool keep_unconfirmed, MetricRegistry& metrics);
  virtual ~DeadLetters() = default;

  // ---- any thread
  virtual Result<std::vector<DeadLetter>> list(const DeadLetterFilter& filter) const = 0;
  virtual Result<DeadLetter> get(uint64_t id) const = 0;
  virtual uint64_t size() const = 0;
  // (lane, reason) -> live letters.
  virtual std::map<std::pair<std::string, std::string>, uint64_t> counts() const = 0;
  virtual uint64_t bytes() const = 0;  // of the files
};

struct DeadLetterInspection {
  uint64_t files = 0;
  uint64_t records = 0;
  uint64_t letters = 0;  // live ones
  std::vector<std::string> problems;
};
DeadLetterInspection inspect_dead_letters(const std::string& directory);

}  // namespace weir::storage
