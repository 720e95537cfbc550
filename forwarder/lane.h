// One destination: its position, its batches, its retries. The steps of the drain loop
// (forwarder.cc) are its public functions, in their order.
// Path: warm (per batch).  Thread: the forwarder's; nothing here is shared.
//
// Invariants
//   1. A batch is sent only after its range and number are durable.
//   2. Events leave the lane's open ranges only by a mark: sent, dead letter, expired range, or
//      replaced by the two halves of their range. Marks are submitted in the order of what happened
//      and are pipelined: the lane does not wait for one before the next.
//   3. While the destination fails (failures_ > 0) at most one request asks it, after a pause; what
//      waits holds no body in memory.
//   4. When a mark fails, the lane stops: it sends nothing more, because it could not say so.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "forwarder/batch.h"
#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "forwarder/rate_limit.h"
#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/lane.h"
#include "storage/store.h"

namespace weir::forwarder {

// Memory for bodies, shared by the lanes (all on one thread).
struct Budget {
  uint64_t limit = 0;
  uint64_t used = 0;
};

class Lane {
 public:
  // What all lanes share. LIFETIME: outlives the lane.
  struct Surroundings {
    storage::Store& store;
    storage::LaneClient& marks;
    const Clock& clock;
    MetricRegistry& metrics;
    Budget& budget;
  };
  Lane(const DestinationOptions& options, const Surroundings& surroundings,
       std::unique_ptr<Destination> destination);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Takes the durable position from the store.
  void start();

  // ---- the steps of the drain loop; begin_turn() first.
  void begin_turn();
  void take_outcomes();                       // what the destination answered -> marks
  void on_mark(storage::LaneUpdate& update);  // a mark is durable, or failed
  void read_ahead();                          // cursor -> batch, on its way to the disk
  void send_due();                            // batch -> destination

  // Something is to be sent once more (dead letters, expired ranges, a replay), or letters were
  // discarded.
  void look_for_requeued();
  void start_draining() { draining_ = true; }
  bool drained() const;  // nothing left that could be sent now, and everything is marked
  void abandon();        // ends the sends in flight; only marks are waited for from now on
  bool marked() const { return marks_.empty(); }
  // For somebody who ends it after the lane. The last call but the destructor; abandon() first.
  std::unique_ptr<Destination> give_up_destination() { return std::move(destination_); }

  int poll_fd() const { return destination_->poll_fd(); }
  int64_t deadline_ns() const;  // when the next turn has something to do without being woken
  LaneStatus status() const;
  void publish_gauges();
  const std::string& name() const { return options_.name; }

 private:
  enum class Ending : uint8_t { kSent, kFailed, kExpired };
  struct Replay {  // a part of the log that is sent once more
    storage::OpenRange range;
    std::unique_ptr<BatchReader> reader;  // of the one whose turn it is: it holds a buffer
    uint64_t unread() const {
      return reader != nullptr ? reader->unread() : range.last - range.first + 1;
    }
  };

  // lane.cc: reading and sending
  Status load();
  static bool may_pass(ErrorCode code);
  bool may_open(int64_t now) const;
  bool memory_left() const;
  void open_batch(BatchReader& reader, Replay* replay = nullptr);
  Batch* next_to_send(int64_t now);
  bool prepare(Batch& batch);
  void send(Batch& batch);
  void pause_reading(const Error& error);
  void pause_batch(Batch& batch, const Error& error);
  void wake_at(int64_t monotonic_ns);

  // lane_requeued.cc: what is sent once more, or after all
  void fetch_letters();
  void add_letter(const storage::DeadLetter& listed);
  void adopt(const storage::OpenRange& range);
  void read_replay(int64_t now);
  void shrink_replay(Replay& replay, storage::LaneUpdate& update);

  // lane_outcomes.cc: what an outcome changes
  void on_outcome(Batch& batch);
  void on_delivered(Batch& batch);
  void on_retry(Batch& batch);
  void on_refused(Batch& batch);
  void split(Batch& batch);
  void reject(Batch& batch);
  void give_up(Batch& batch, std::string_view reason);
  void close_range(storage::LaneUpdate& update, const Batch& batch) const;
  void add_delivery(storage::LaneUpdate& update, const Batch& batch) const;
  void note_letter_attempt(const Batch& batch);
  void finish_letter(Batch& batch, Ending ending, std::string_view reason);
  void open_circuit(const Batch& failed);
  void close_circuit();

  // marks and batches
  storage::LaneUpdate& new_mark();
  void submit(storage::LaneUpdate& update);
  void unload(Batch& batch);
  void remove(Batch& batch);
  void on_opened(const storage::OpenRange& range);
  void forget_below(uint16_t shard, uint64_t floor);
  void stop(const Error& error);
  int64_t monotonic_after(int64_t delay_ms) const;
  uint64_t random();

  const DestinationOptions options_;
  storage::Store& store_;
  storage::LaneClient& marks_client_;
  const Clock& clock_;
  Budget& budget_;
  const EventFilter filter_;
  std::unique_ptr<Destination> destination_;
  std::unique_ptr<Encoder> encoder_;  // for what is read again
  RateLimit rate_;

  struct Shard {
    BatchReader reader;
    int64_t pending_since_ns = 0;  // since when something waits to be batched; 0: nothing does
  };
  std::vector<std::unique_ptr<Shard>> shards_;
  size_t next_shard_ = 0;
  std::vector<std::unique_ptr<Batch>> batches_;
  std::vector<std::unique_ptr<storage::LaneUpdate>> marks_;  // lent to the store
  uint64_t memory_ = 0;                                      // of the bodies, counted in budget_
  size_t sending_ = 0;
  size_t letters_ = 0;  // batches_ that are dead letters
  std::vector<std::unique_ptr<Replay>> replays_;
  uint64_t adopted_to_ = 0;  // the highest number of a replay there was: each is adopted once
  bool scan_letters_ = true;
  uint64_t scanned_letters_to_ = 0;
  bool draining_ = false;

  // The circuit: open while failures_ > 0.
  uint32_t failures_ = 0;               // in a row, concurrent ones counting once
  int64_t resume_ns_ = 0;               // nothing is sent before
  int64_t asked_to_wait_until_ns_ = 0;  // by a Retry-After: a success does not end that pause
  uint32_t address_refusals_ = 0;
  uint64_t event_cap_ = 0;  // learnt from 413; batches are not opened larger
  uint32_t deliveries_at_cap_ = 0;
  std::string last_error_;
  std::string failing_reason_;  // the one that was logged last

  std::optional<Error> stopped_;
  int64_t reload_ns_ = INT64_MAX;  // when a stopped lane tries again
  int64_t read_pause_until_ns_ = 0;
  int64_t wake_ns_ = INT64_MAX;
  uint64_t random_state_;

  struct Cells {
    Counter& delivered;
    Counter& retry;
    Counter& split;
    Counter& reject;
    Counter& network;
    Counter& sent;
    Counter& failed;
    Counter& expired;
    Counter& skipped;
    Counter& missing;
    Counter& bytes;
    Histogram& seconds;
    Gauge& pending;
    Gauge& oldest;
    Gauge& in_flight;
    std::array<Gauge*, 4> states;
  };
  Cells cells_;
};

}  // namespace weir::forwarder
