// From the cursor to a batch: reads one shard of the store for one lane, leaves out what the lane
// does not want, and encodes the rest while it is read, so that an event is copied once.
// Path: warm (per event and lane).  Thread: the forwarder's.
//
// Invariants
//   1. A batch is a range of numbers without overlap; what of it is sent follows from the events
//      and the lane's options alone. So the range is all that has to be durable, and load() makes
//      the same body from it at any later time.
//   2. Every number of the range is either sent, skipped (filter, sandbox), undecodable or missing;
//      each is counted exactly once, when the range is opened.
//   3. No transaction of the store is held outside of a call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "storage/base/event_record.h"
#include "storage/lane.h"
#include "storage/store.h"

namespace weir::forwarder {

// Events by tenant. A batch rarely has more than a few.
class TenantTally {
 public:
  void add(std::string_view tenant, uint64_t events = 1);
  uint64_t total() const { return total_; }
  const std::vector<std::pair<std::string, uint64_t>>& rows() const { return rows_; }
  // Adds to one kind of outcome, in all and per tenant.
  void add_to(storage::LaneUpdate& update, uint64_t storage::OutcomeCounts::*kind) const;
  void clear();

 private:
  std::vector<std::pair<std::string, uint64_t>> rows_;
  size_t last_ = 0;
  uint64_t total_ = 0;
};

enum class BatchState : uint8_t {
  kOpening,  // its range is on the way to the disk
  kReady,    // durable; waits for its turn or for due_ns
  kSending,
};

struct Batch {
  storage::OpenRange range;
  std::string id;
  BatchState state = BatchState::kOpening;
  bool loaded = false;            // body, numbers and tenants are filled in
  std::string body;               // encoded and compressed
  std::vector<uint64_t> numbers;  // of the events in it, ascending
  TenantTally tenants;
  int64_t due_ns = 0;          // monotonic; not sent before
  bool probe = false;          // this send asks whether the destination is back
  bool forgotten = false;      // given up by the store while it was being sent
  uint32_t lone_failures = 0;  // failed while the lane was well
  // A dead letter that is sent again; it has no range.
  std::unique_ptr<storage::DeadLetter> letter;
  Send send;

  void unload();
  size_t memory() const { return body.size() + numbers.size() * sizeof(uint64_t); }
};

// What a lane wants of the log.
class EventFilter {
 public:
  explicit EventFilter(const DestinationOptions& options);
  // Empty lists: all. sandbox: events of sandbox keys too.
  EventFilter(std::vector<std::string> tenants, std::vector<std::string> names,
              std::vector<std::string> sources, bool sandbox);
  bool wants(const EventFields& fields) const;

 private:
  std::vector<std::string> tenants_;
  std::vector<std::string> names_;
  std::vector<std::string> sources_;
  bool sandbox_ = false;
};

enum class Fate : uint8_t { kSend, kSkip, kUndecodable };
// Decodes the event into *fields, unless it is kUndecodable.
Fate judge(const storage::StoredEvent& event, const EventFilter& filter, EventFields* fields);

// One shard as one lane sees it. gather() collects the next batch over as many calls as it takes;
// take() hands it over.
class BatchReader {
 public:
  // last: nothing above is read; then it belongs to a range and moves no frontier. LIFETIME: store,
  // filter and lane_name outlive the reader.
  BatchReader(storage::Store& store, const EventFilter& filter, const BatchOptions& limits,
              std::string_view lane_name, uint16_t shard, uint64_t from,
              std::unique_ptr<Encoder> encoder, uint64_t last = UINT64_MAX);

  uint16_t shard() const { return shard_; }
  uint64_t cursor() const { return cursor_; }
  uint64_t unread() const;  // numbers committed and not gathered
  uint64_t gathered() const { return numbers_.size(); }
  bool full() const { return full_; }
  // Numbers were passed that take() would report.
  bool anything() const { return cursor_ > first_; }

  // Reads on until the batch is full or the log ends. max_events: a smaller limit for now.
  Status gather(uint64_t max_events, int64_t now_wall_ms);
  // Ends what was gathered: moves the frontier in *update, counts what is not sent, and, when there
  // is anything to send, fills *batch, puts its range into *update and answers true.
  Result<bool> take(int64_t now_wall_ms, Batch* batch, storage::LaneUpdate* update,
                    uint64_t* missing);
  // Everything below floor was given up by the store; what was gathered is dropped.
  void skip_to(uint64_t floor);

 private:
  void reset();

  storage::Store& store_;
  const EventFilter& filter_;
  const BatchOptions limits_;
  const std::string_view lane_name_;
  const uint16_t shard_;
  std::unique_ptr<Encoder> encoder_;

  const uint64_t last_;
  uint64_t first_;   // where the batch in progress begins
  uint64_t cursor_;  // the next number to read
  bool full_ = false;
  uint64_t number_ = 0;  // the next batch's; 0: none taken yet
  uint64_t record_bytes_ = 0;
  uint64_t missing_ = 0;
  std::vector<uint64_t> numbers_;
  TenantTally tenants_;
  TenantTally skipped_;
  std::vector<storage::DeadLetter> undecodable_;
};

// Encodes the batch's range once more, from the store. A range of which nothing is left gives a
// batch without events. *missing: numbers in gaps.
Status load_batch(storage::Store& store, const EventFilter& filter, Encoder& encoder, Batch* batch,
                  uint64_t* missing);

// The same for a dead letter: one event, under its own id and position.
Status load_letter(Encoder& encoder, Batch* batch);

// Calls visit for every event of a range. *missing: numbers in gaps are added.
Status read_range(storage::Store& store, const storage::OpenRange& range, uint64_t* missing,
                  FunctionRef<void(const storage::StoredEvent&)> visit);

// An event as a dead letter, without what the outcome says about it. The first: of an event that
// cannot be decoded.
storage::DeadLetter copy_undecodable(const storage::Store& store, const storage::StoredEvent& event,
                                     std::string_view lane_name, int64_t now_wall_ms);
storage::DeadLetter copy_event(const storage::Store& store, const storage::StoredEvent& event,
                               const EventFields& fields, std::string_view lane_name);
// The same for all events of a range that the lane wants.
Result<std::vector<storage::DeadLetter>> copy_events(storage::Store& store,
                                                     const EventFilter& filter,
                                                     const storage::OpenRange& range,
                                                     std::string_view lane_name);

}  // namespace weir::forwarder
