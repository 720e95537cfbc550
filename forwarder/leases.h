// Pull consumers: central servers take events in leases and acknowledge them. A consumer is a lane
// (storage/lane.h) whose open ranges are leased instead of sent; any number of servers may share
// one, and no two of them hold the same event.
//
//   lease -> ranges durable as leased -> events handed out -> ack durable -> answer
//
// Thread: its own, which owns every consumer. Others lend it PullCalls through a mailbox and get
// each back exactly once through the call's inbox.
// Path: warm (per lease; per event while a lease is encoded).
//
// Invariants
//   1. Events are handed out only after the ranges that hold them are durable under the lease's
//      number, which is never used again. So a lease survives a restart.
//   2. A call is answered with success only after what it changed is durable.
//   3. An event is in at most one lease of its consumer.
//   4. No read transaction is held across anything that waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "forwarder/forwarder.h"
#include "forwarder/seek_target.h"
#include "storage/base/mailbox.h"
#include "storage/base/wakeup.h"

namespace weir::forwarder {

// One [[consumers]] entry, or one made at run time.
struct ConsumerOptions {
  storage::LaneOptions lane;                // name, from, backlog limits, max_idle
  int64_t lease_ms = 300'000;               // of a lease that asks for nothing else
  uint64_t max_deliveries = 16;             // then dead letter "max_deliveries"; 0: no limit
  uint64_t max_open_ranges = 4096;          // no new lease until some close
  bool sandbox = false;                     // events of sandbox keys too
  std::vector<std::string> filter_tenants;  // empty: all
  std::vector<std::string> filter_names;
  std::vector<std::string> filter_sources;
  bool temporary = false;  // deleted once it was idle for max_idle
};

// Bounds of the [pull] section.
struct PullOptions {
  std::string node;
  std::vector<ConsumerOptions> consumers;  // the declared ones
  uint64_t max_events = 10'000;            // of one lease
  uint64_t max_bytes = uint64_t{8} << 20;  // of event records in one lease
  int64_t max_wait_ms = 60'000;            // of a long poll
  int64_t max_lease_ms = 43'200'000;
  uint64_t max_waiting = 1024;   // long polls at once
  uint64_t max_consumers = 100;  // declared and made at run time
  // Encoded leases that were not handed to their connection yet; one is always allowed.
  uint64_t max_memory_bytes = uint64_t{64} << 20;
};

enum class PullKind : uint8_t {
  kLease,
  kAck,
  kRenew,
  kRelease,
  kSeek,
  kReplay,
  kShow,
  kList,
  kCreate,
  kDelete,
};

struct PullCall;

// Where calls come back to. LIFETIME: outlives Leases::stop(), because it is notified after its
// owner may have taken the call.
struct PullInbox {
  explicit PullInbox(Wakeup& to_notify) : wakeup(to_notify) {}
  Mailbox<PullCall> done;
  Wakeup& wakeup;
};

struct LeaseInfo {
  std::string lease;
  std::string holder;
  uint64_t events = 0;
  uint32_t delivery = 0;
  int64_t expires_ms = 0;
};

// What a consumer shows of itself.
struct ConsumerInfo {
  ConsumerOptions options;
  bool declared = false;
  bool idle = false;
  uint64_t pending = 0;  // numbers not finished, leased ones included
  uint64_t leased = 0;   // of them: in a lease that has not expired
  uint64_t delayed = 0;  // of them: given back, or their lease expired
  uint64_t open_ranges = 0;
  uint64_t waiting = 0;           // long polls
  int64_t oldest_pending_ms = 0;  // received; 0: none
  int64_t active_ms = 0;
  std::vector<Position> next;  // per store shard: the next event never handed out
  storage::OutcomeCounts counts;
  uint64_t leases = 0;
  std::vector<LeaseInfo> some_leases;  // at most 100
};

// What a consumer has not finished, from what is durable about it: for whoever must not wait for
// the leases' thread.
struct LeaseCounts {
  uint64_t leases = 0;
  uint64_t leased = 0;       // events in them
  uint64_t delayed = 0;      // given back, or their lease expired
  uint64_t redelivered = 0;  // of both: handed out more than once
};
LeaseCounts count_leases(const storage::LaneState& consumer, int64_t now_ms);

// One request. LIFETIME: lent from Leases::submit() until it comes back through its inbox. OWNS its
// strings.
struct PullCall {
  // ---- asked
  PullKind kind = PullKind::kLease;
  std::string consumer;
  std::string holder;                  // who asks: token name or address, for the ledger
  std::vector<std::string> tenants{};  // the asker may see only these; empty: all
  bool may_create = false;             // an unknown consumer is made (open mode)
  uint64_t max_events = 1000;
  uint64_t max_bytes = uint64_t{4} << 20;
  int64_t wait_ms = 0;
  int64_t lease_ms = 0;  // 0: the consumer's
  BodyFormat format = BodyFormat::kJson;
  Compression compression = Compression::kNone;
  std::string lease{};
  struct Nack {
    Position position;
    int64_t delay_ms = 0;
  };
  struct Reject {
    Position position;
    std::string reason;
  };
  std::vector<Nack> nacks{};
  std::vector<Reject> rejects{};
  SeekTarget seek{};   // kSeek; kReplay: the first event
  SeekTarget until{};  // kReplay: the first event that is not wanted
  ConsumerOptions create{};
  PullInbox* inbox = nullptr;
  void* context = nullptr;  // the owner's
  // Set by the owner when nobody waits for the answer any more; then Leases::wake(). What was
  // leased to it is the owner's to release.
  std::atomic<bool> cancelled{false};

  // ---- answered
  Status status{};
  std::string_view code{};  // stable, of a failure: "lease_expired"
  bool empty = false;       // kLease: nothing within the wait
  std::string body{};       // kLease: encoded and compressed
  int64_t expires_ms = 0;
  uint32_t delivery = 0;
  uint64_t events = 0;  // in the lease; kReplay: numbers that are handed out again
  uint64_t backlog_events = 0;
  int64_t backlog_oldest_seconds = 0;
  uint64_t acked = 0;
  uint64_t nacked = 0;
  uint64_t rejected = 0;
  uint64_t dead_lettered = 0;  // not rejected, but at max_deliveries
  uint64_t released = 0;
  std::vector<Position> positions{};  // kSeek: per store shard, the next event
  std::vector<ConsumerInfo> infos{};  // kShow, kList, kCreate

  PullCall* next = nullptr;  // the mailboxes'

  PullCall() = default;
};

class Leases {
 public:
  // LIFETIME: store, clock and metrics outlive it.
  static Result<std::unique_ptr<Leases>> start(const PullOptions& options, storage::Store& store,
                                               const Clock& clock, MetricRegistry& metrics);
  virtual ~Leases() = default;
  // Any thread. After stop() calls come back at once, with kUnavailable.
  virtual void submit(PullCall& call) = 0;
  // A call was cancelled. Any thread.
  virtual void wake() = 0;
  // Dead letters or expired ranges were requeued in the store: look for them. Any thread.
  virtual void look_for_requeued() = 0;
  // Whether declare() would exceed max_consumers. Any thread.
  virtual Status may_declare(const std::vector<ConsumerOptions>& consumers) const = 0;
  // The declared consumers are these from now on; their lanes are in the store. What is leased
  // stays leased. One that is not among them any more goes on as one made at run time. Any thread.
  virtual void declare(std::vector<ConsumerOptions> consumers) = 0;
  // The owner of a lease's body let go of it. Any thread.
  virtual void release_body(uint64_t bytes) = 0;
  // Answers what waits, waits for the marks that are on their way, ends the thread. Idempotent.
  // Call it before Store::stop(), and destroy it between Store::stop() and the store's end.
  virtual void stop() = 0;
};

// Who holds a leased range, from what the store keeps as its owner (storage::OpenRange).
std::string holder_of(std::string_view owner);

// Of consumers that say nothing else.
constexpr int64_t kDefaultMaxIdleMs = 7LL * 86'400'000;

// What a configured or requested consumer can be; a message that says what to do otherwise.
Status check_consumer(const ConsumerOptions& options);

}  // namespace weir::forwarder
