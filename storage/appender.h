// A reactor's door to the writers: collects requests during a turn, hands each writer its parts in
// one step, gets the requests back in chains.
// Path: hot (per request; per event with several shards).  Thread: as said in append.h.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "storage/admission.h"
#include "storage/append.h"
#include "storage/base/mailbox.h"
#include "storage/base/metrics.h"
#include "storage/base/wakeup.h"

namespace weir::storage {

// Where a shard's parts go: the writer.
class PartSink {
 public:
  virtual ~PartSink() = default;
  virtual void submit(AppendRequest::Part* first, AppendRequest::Part* last) = 0;
};

// The bytes that are lent and not yet given back, against append_queue_bytes.
class AppendQueue {
 public:
  explicit AppendQueue(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  void add(uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void remove(uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint64_t max_bytes() const { return max_bytes_; }

 private:
  const uint64_t max_bytes_;
  alignas(64) std::atomic<uint64_t> bytes_{0};
};

// What an entry counts for in the queue: its bytes and what the store keeps about it.
constexpr uint64_t kEntryOverhead = 64;
inline uint64_t queue_cost(const AppendEntry& entry) {
  return entry.head.size() + entry.raw.size() + kEntryOverhead;
}

// Requests refused, by Refusal; one set per thread that counts.
using RefusalCounters = std::array<Counter*, kRefusals>;
RefusalCounters make_refusal_counters(MetricRegistry& metrics);

// The shard of a fingerprint.
inline unsigned shard_of(const Fingerprint& fingerprint, size_t shards) {
  return static_cast<unsigned>((fingerprint.low & 0xffff) % shards);
}

class StoreAppender final : public Appender {
 public:
  StoreAppender(std::vector<PartSink*> shards, AppendQueue& queue, Admission& admission,
                const RefusalCounters& refusals, Wakeup& wakeup);

  void append(AppendRequest& request) override;
  void flush() override;
  AppendRequest* take_outcomes() override;

  // ---- writers. Collects an answered request for deliver(); returns true for the first one since.
  bool collect(unsigned shard, AppendRequest* request);
  void deliver(unsigned shard);
  void deliver_one(AppendRequest* request);  // any thread

 private:
  struct Chain {
    AppendRequest* first = nullptr;
    AppendRequest* last = nullptr;
  };
  struct Parts {
    AppendRequest::Part* first = nullptr;
    AppendRequest::Part* last = nullptr;
  };
  static void push(Chain& chain, AppendRequest* request);
  void split(AppendRequest& request);
  void add_part(AppendRequest& request, unsigned shard);

  const std::vector<PartSink*> shards_;
  AppendQueue& queue_;
  Admission& admission_;
  const RefusalCounters refusals_;
  Wakeup& wakeup_;
  std::array<Parts, kMaxShards> waiting_;  // of this turn
  uint64_t waiting_bytes_ = 0;
  unsigned next_shard_ = 0;  // for entries without a fingerprint
  Chain refused_;            // of this turn
  // Each writer's own, until it delivers.
  struct alignas(64) ShardChain {
    Chain chain;
  };
  std::array<ShardChain, kMaxShards> answered_;
  Mailbox<AppendRequest> outcomes_;
};

}  // namespace weir::storage
