// One pull consumer: its position, its leases, who waits for events. See leases.h for the contract.
// Path: warm (per lease).  Thread: the leases'; nothing here is shared.
//
// Invariants
//   1. Each number below the cursors is in exactly one open range or finished; a range belongs to
//      at most one lease.
//   2. What is in memory is what will be durable once the marks on their way are: changes are made
//      here first and submitted in order. When a mark fails, everything is read anew from the
//      store, after the last one came back.
//   3. A lease's time in this process runs on the monotonic clock; wall time counts only across a
//      restart, and never for longer than the lease was long.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "forwarder/consumer_note.h"
#include "forwarder/lease_body.h"
#include "forwarder/leases.h"
#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/store.h"

namespace weir::forwarder {

// The metric cells of one label; temporary consumers share one.
struct PullCells {
  PullCells(MetricRegistry& metrics, const std::string& label);
  Gauge& leases;
  Gauge& leased_events;
  Gauge& open_ranges;
  Gauge& waiting;
  Counter& bytes;
  Counter& handed_out;
  Counter& redelivered;
  Counter& acked;
  Counter& nacked;
  Counter& rejected;
  Counter& dead_lettered;
  Counter& released;
  Counter& expired;
  Counter& skipped;
  Counter& missing;
};

class Consumer {
 public:
  // What all consumers share. LIFETIME: outlives the consumer.
  struct Surroundings {
    storage::Store& store;
    storage::LaneClient& marks;
    const Clock& clock;
    const PullOptions& options;
    std::array<std::unique_ptr<Compressor>, 3>& compressors;  // by Compression
    std::atomic<uint64_t>& memory;                            // bodies not handed over yet
    std::function<void(PullCall&)> finish;                    // gives a call back
  };
  // One update on its way, and who waits for it.
  struct Mark {
    Consumer* consumer = nullptr;
    storage::LaneUpdate update;
    std::vector<PullCall*> calls;
    uint64_t ends = 0;  // the lease whose end this makes durable; 0: none
  };

  Consumer(ConsumerOptions options, bool declared, const Surroundings& surroundings,
           PullCells& cells);
  ~Consumer();
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;

  // Takes everything from the store. Call it once before the rest.
  Status load();
  // Its settings are these from now on, durable for one that is not declared. What is leased stays
  // leased; a new filter says what of it is handed out should it come back.
  void configure(const ConsumerOptions& options, bool declared);

  void lease(PullCall& call);
  void ack(PullCall& call);
  void renew(PullCall& call);
  void release(PullCall& call);
  void seek(PullCall& call);
  void replay(PullCall& call);
  ConsumerInfo info() const;
  // Dead letters, or ranges that were given up, were requeued in the store: look for them.
  void look_for_requeued();

  void on_mark(Mark& mark);
  // Expires leases, moves exhausted events to the dead letters, hands out what may be handed out.
  void turn();
  // Answers everybody who waits; takes nothing more.
  void stop(const Error& why);

  bool marked() const { return marks_.empty(); }
  bool waiting() const { return !waiters_.empty(); }
  size_t waiters() const { return waiters_.size(); }
  bool gated() const { return gated_; }  // waits for memory
  int64_t deadline_ns() const;           // when turn() has something to do without being woken
  // Milliseconds until a temporary consumer has been idle too long; INT64_MAX: never.
  int64_t idle_in_ms() const;
  const ConsumerOptions& options() const { return options_; }
  const std::string& name() const { return options_.lane.name; }
  bool declared() const { return declared_; }

 private:
  struct Held {
    storage::OpenRange range;
    int64_t due_ns = 0;    // its lease or its delay ends
    uint64_t lease = 0;    // 0: nobody has it
    uint64_t letter = 0;   // it is a dead letter that was requeued: one event, perhaps edited
    bool expired = false;  // the last who had it neither acknowledged nor gave it back
  };
  struct Lease {
    std::vector<uint64_t> ranges;
    std::string holder;
    int64_t due_ns = 0;
    uint64_t events = 0;
    uint32_t delivery = 0;
    bool tallied = false;  // tenants is known
    TenantTally tenants;   // of the events that are no requeued dead letters
  };
  struct Waiter {
    PullCall* call = nullptr;
    int64_t deadline_ns = 0;
  };
  enum class Grant : uint8_t { kDone, kNothing, kAgain };

  // consumer.cc: handing out
  void add_from_store(const storage::OpenRange& range);
  void serve();
  void answer_late_waiters();
  Grant grant(PullCall& call);
  Result<bool> take_ready(LeaseBody& body, const PullCall& call, Mark& mark, Lease& lease,
                          uint64_t number);
  Result<bool> take_new(LeaseBody& body, const PullCall& call, Mark& mark, Lease& lease,
                        uint64_t number);
  void lease_range(Mark& mark, Lease& lease, uint64_t number, storage::OpenRange range,
                   const TakenRange& taken, const PullCall& call);
  void open_lease(PullCall& call, std::unique_ptr<Mark> mark, Lease lease, uint64_t number);
  bool given_up_meanwhile(const Mark& mark) const;
  void serve_anew(Mark& mark);
  void note_taken(const TakenRange& taken, storage::LaneUpdate& update);
  void save_skipped(bool now);
  uint64_t unread() const;
  uint64_t backlog() const;
  int64_t backlog_oldest_seconds() const;
  int64_t lease_ms(const PullCall& call) const;

  // consumer_endings.cc: what becomes of leases
  class PartialAck;
  std::optional<uint64_t> lease_number(std::string_view text) const;
  bool repeat(PullCall& call, uint64_t number, std::optional<EndKind> kind);
  Lease* find_lease(PullCall& call, uint64_t* number, std::optional<EndKind> kind);
  Status ack_all(const Lease& lease, Mark& mark, Ending& ending);
  Status ack_some(const PullCall& call, const Lease& lease, Mark& mark, Ending& ending);
  void end_lease(uint64_t number, const Ending& ending, Mark& mark);
  void give_back(storage::OpenRange& range) const;
  void close_range(storage::LaneUpdate& update, const storage::OpenRange& range, int status) const;
  void expire_due();
  void expire_lease(uint64_t number);
  void make_ready(uint64_t number);
  void bury_exhausted();
  bool bury(uint64_t number);
  bool exhausted(const storage::OpenRange& range) const;
  std::string label_of(std::string_view reason);
  storage::DeadLetter letter_of(const storage::StoredEvent& event, const EventFields& fields,
                                const storage::OpenRange& range, std::string reason,
                                std::string detail) const;
  static std::string cut_detail(std::string detail);

  // consumer_moves.cc: seek and replay
  Result<uint64_t> resolve(const SeekTarget& target, uint16_t shard) const;

  // consumer_requeued.cc: what is handed out once more
  void adopt_requeued();
  Status adopt_ranges();
  Result<bool> adopt_letters();
  Result<TakenRange> take_letter(LeaseBody& body, const Held& held, Mark& mark);
  Status visit(const Held& held, FunctionRef<void(const storage::StoredEvent&)> visit) const;
  void fail_again(storage::LaneUpdate& update, const Held& held, std::string reason,
                  std::string detail) const;

  // ranges, marks
  Held& hold(const storage::OpenRange& range, int64_t due_ns);
  void put(storage::LaneUpdate& update, const storage::OpenRange& range, int64_t due_ns);
  void erase(uint64_t number);
  void forget_ranges();
  void forget_below(uint16_t shard, uint64_t floor);
  std::unique_ptr<Mark> new_mark();
  void submit(std::unique_ptr<Mark> mark);
  void fail_call(PullCall& call, ErrorCode code, std::string_view stable, std::string message);
  void break_off(const Error& why);
  void touch();
  void publish();

  ConsumerOptions options_;
  bool declared_;
  const Surroundings around_;
  PullCells& cells_;
  EventFilter filter_;

  std::vector<uint64_t> cursors_;  // per store shard: the next number never handed out
  size_t next_shard_ = 0;
  std::map<uint64_t, Held> ranges_;               // by number
  std::set<uint64_t> letters_;                    // dead letters that have a range
  std::set<std::pair<int64_t, uint64_t>> due_;    // in a lease or delayed
  std::set<std::pair<int64_t, uint64_t>> ready_;  // may be handed out again
  std::deque<uint64_t> exhausted_;                // on their way to the dead letters
  std::map<uint64_t, Lease> leases_;              // by number
  std::deque<Ending> endings_;                    // the latest, oldest first
  std::deque<Waiter> waiters_;
  std::vector<std::unique_ptr<Mark>> marks_;  // lent to the store, in order
  uint64_t spare_number_ = 0;                 // taken, not used yet
  storage::LaneUpdate skipped_;               // passed over, not durable yet
  int64_t skipped_since_ns_ = 0;              // 0: nothing
  std::optional<Error> broken_;
  std::optional<Error> stopped_;
  bool look_ = true;  // something may have been requeued
  uint64_t looked_at_letters_to_ = 0;
  bool gated_ = false;
  bool more_to_do_ = false;     // serve() stopped in the middle
  int64_t pause_until_ns_ = 0;  // after a read or a dead letter failed
  int64_t active_ms_ = 0;
  int64_t noted_active_ms_ = 0;
  std::set<std::string, std::less<>> reasons_;  // of rejects, a bounded number

  // What this consumer added to the gauges it may share.
  struct Published {
    int64_t leases = 0;
    int64_t leased_events = 0;
    int64_t open_ranges = 0;
    int64_t waiting = 0;
  } published_;
};

}  // namespace weir::forwarder
