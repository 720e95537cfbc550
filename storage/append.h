// The write path's interface: what a reactor lends to the store, and how it gets it back.
// Path: hot (per event).  Thread: as said at each member.
//
// Invariants
//   1. A lent request, its entries and every byte they point to stay unchanged and alive until the
//      request comes back through Appender::take_outcomes(), whatever happens to the client.
//   2. Every lent request comes back exactly once.
//   3. AppendOutcome::kCommitted comes back only after a sync that covers every stored entry of the
//      request and the original of every duplicate one.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "storage/base/hash.h"
#include "storage/base/mailbox.h"
#include "storage/base/wakeup.h"

namespace weir::storage {

constexpr unsigned kMaxShards = 8;  // store shards (writers); fixed in the data directory
constexpr size_t kMaxHeadBytes = (size_t{1} << 24) - 1;  // of one entry's head

enum class EntryOutcome : uint8_t { kPending, kStored, kDuplicate };

// One event. The pieces are written behind one another as the record's payload, which follows the
// grammar of base/event_record.h: head (field* end), then raw.
struct AppendEntry {
  Fingerprint fingerprint;  // empty: not deduplicated
  std::string_view tenant;  // for the per-tenant counts
  std::string_view head;
  std::string_view raw;

  // Written by the store before the request comes back.
  uint64_t number = 0;  // with shard: the event's position; for a duplicate, that of the original,
                        // or 0 if it is no longer known
  uint16_t shard = 0;
  EntryOutcome outcome = EntryOutcome::kPending;
};

enum class AppendOutcome : uint8_t {
  kPending,
  kCommitted,  // every entry is stored or a duplicate of a stored one, and durable
  kRefused,    // entries of this request may or may not be on disk; the client must send again
};

// Why the store refuses, as the client and the metrics see it.
enum class Refusal : uint8_t {
  kNone,
  kDiskFull,     // no space, or the reserve is reached; ends by itself when space returns
  kStoreFull,    // store.max_bytes is reached and nothing may be deleted
  kBacklogFull,  // a lane with the policy "refuse" is at its max_backlog
  kSyncFailed,   // a sync failed; final until restart, with the original reason
  kSyncStalled,  // a sync has been running longer than commit_deadline: outcome unknown
  kQueueFull,    // more append bytes wait than append_queue_bytes
  kStopping,     // the process is shutting down
  kDraining,     // an operator asked for it (`weir drain`); ends when they say so
};
constexpr size_t kRefusals = 9;
std::string_view refusal_name(Refusal refusal);  // "disk_full", …

struct AppendRequest {
  std::span<AppendEntry> entries;  // at least one
  int64_t received_at_ms = 0;
  void* context = nullptr;  // the owner's

  // Written by the store before the request comes back.
  AppendOutcome outcome = AppendOutcome::kPending;
  Refusal refusal = Refusal::kNone;

  AppendRequest* next = nullptr;  // the outcome chain; the owner's after take_outcomes()

  // The store's while the request is lent.
  struct Part {
    AppendRequest* request = nullptr;
    Part* next = nullptr;
    size_t done_entries = 0;
    uint16_t shard = 0;
  };
  Part parts[kMaxShards];
  std::atomic<uint32_t> parts_left{0};
  class Appender* appender = nullptr;
};

class Store;

// One reactor's door to the store. append() only collects; flush(), called once per turn, hands the
// turn's requests over in one step and wakes each writer at most once.
// THREAD: belongs to the thread that calls append(); deliver() is the writers'.
class Appender {
 public:
  virtual ~Appender() = default;
  virtual void append(AppendRequest& request) = 0;  // lends request
  virtual void flush() = 0;
  // Requests that came back since the last call, linked by next; null when there are none. The
  // Wakeup given to Store::make_appender is notified once per commit that returned any.
  virtual AppendRequest* take_outcomes() = 0;
};

}  // namespace weir::storage
