// One store shard's writer: takes what the reactors lend, drops duplicates, appends, commits, and
// gives the requests back. Group commit: while one commit syncs, the next group gathers.
// Path: hot (per event).  Thread: its own; submit() is for any.
//
// The order of one round: take the mailbox -> choose a group (small requests first, a large batch a
// piece at a time) -> dedupe -> append -> commit -> answer. It is run_group() in writer.cc.
//
// Invariants
//   1. A part is answered kCommitted only after the commit that holds its last entry returned, and
//      with it every original of its duplicates.
//   2. Numbers are dense within a segment and never used twice.
//   3. After a failed commit the index is as it was before the group.
//   4. After a failed sync nothing is ever written again (Admission, kSyncFailed).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "storage/admission.h"
#include "storage/append.h"
#include "storage/appender.h"
#include "storage/base/clock.h"
#include "storage/base/mailbox.h"
#include "storage/base/metrics.h"
#include "storage/base/wakeup.h"
#include "storage/dedupe_index.h"
#include "storage/group.h"
#include "storage/segment_set.h"
#include "storage/segment_writer.h"
#include "storage/store.h"
#include "storage/successor.h"

namespace weir::storage {

// What the writer tells the rest of the store, on its own thread.
class WriterEvents {
 public:
  virtual ~WriterEvents() = default;
  virtual void on_commit(unsigned shard, const CommitBlock& block) = 0;
  virtual void wake_filling() = 0;      // zeros of the successor are due
  virtual void wake_maintenance() = 0;  // a segment was sealed, a successor is wanted, disk is full
};

struct WriterLimits {
  uint64_t segment_bytes = 0;
  int64_t segment_age_ms = 0;
  uint64_t group_events = 0;
  uint64_t group_bytes = 0;
  uint64_t bulk_events = 0;  // of a large batch in one commit
  uint64_t bulk_bytes = 0;
  uint64_t entry_bytes = 0;  // the largest event

  static WriterLimits from(const StoreOptions& options);
};

class Writer final : public PartSink {
 public:
  Writer(unsigned shard, const WriterLimits& limits, const SegmentHeader& identity,
         const std::string& directory, const Clock& clock, MetricRegistry& metrics, SegmentSet& set,
         Admission& admission, AppendQueue& queue, WriterEvents& events,
         std::unique_ptr<DedupeIndex> index);
  ~Writer() override;

  // Makes the active segment, then starts the thread. On a full disk it starts without one, refuses
  // (kDiskFull) and makes it when there is room.
  Status start();
  // Commits what was lent, refuses what comes later, ends the thread. Idempotent.
  void stop();

  // ---- any thread
  void submit(AppendRequest::Part* first, AppendRequest::Part* last) override;
  // Monotonic time at which the commit that is running began; 0: none is.
  int64_t commit_started_ns() const { return commit_started_ns_.load(std::memory_order_relaxed); }
  Successor& successor() { return successor_; }
  // Events first..last are gone: their keys are no longer duplicates.
  void forget_originals(uint64_t first, uint64_t last);
  uint64_t dedupe_entries() const { return dedupe_entries_.load(std::memory_order_relaxed); }
  int64_t dedupe_window_ms() const { return dedupe_window_ms_.load(std::memory_order_relaxed); }
  uint64_t dedupe_bytes() const { return dedupe_bytes_.load(std::memory_order_relaxed); }
  uint64_t duplicates() const { return duplicates_.load(std::memory_order_relaxed); }

 private:
  enum class Stored : uint8_t { kDone, kFull, kFailed };

  void run();
  void take_new();
  void choose_group();
  void fill_from(PartQueue& queue, uint64_t max_events, uint64_t max_bytes);
  bool entry_too_large(const AppendEntry& entry);
  void run_group();
  void dedupe_group();
  bool store_group();
  Stored try_store(int* code);
  int append_group();
  void encode_chunk(size_t* item, ChunkEncoder& chunk);
  void build_commit_block(CommitBlock* block);
  bool fail_group(const Error& error, bool in_commit);
  Refusal judge(const Error& error, bool in_commit);
  uint64_t waiting_bytes(const AppendRequest::Part& part) const;
  void roll_back();
  void finish_group(const CommitBlock* block);
  void answer(AppendRequest::Part* part, Refusal refusal);
  void deliver_answers();
  void refuse_waiting(Refusal refusal);
  Status roll();
  void activate(std::unique_ptr<SegmentWriter> next);
  void roll_by_age();
  void roll_to_filled();
  uint64_t used_of_active() const;
  void want_successor();
  uint64_t zeros_due(uint64_t used) const;
  void keep_house(int64_t now_ms);
  void refuse_leftovers();

  const unsigned shard_;
  const WriterLimits limits_;
  const SegmentHeader identity_;  // shard, store id, secret
  const std::string directory_;
  const Clock& clock_;
  SegmentSet& set_;
  Admission& admission_;
  AppendQueue& queue_;
  WriterEvents& events_;
  std::unique_ptr<DedupeIndex> index_;
  Successor successor_;

  std::thread thread_;
  Wakeup wakeup_;
  Mailbox<AppendRequest::Part> mailbox_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> closed_{0};

  // The writer thread's own.
  PartQueue small_;
  PartQueue large_;
  bool small_in_group_ = false;  // the last group had requests that are not bulk
  Group group_;
  std::vector<StoreAppender*> answered_;   // appenders with something to deliver
  std::unique_ptr<SegmentWriter> active_;  // null: the disk has been full since the start
  SegmentHeader header_;                   // of the active segment
  bool active_empty_ = true;
  int64_t active_since_ns_ = 0;
  uint64_t next_ = 1;  // the next number
  uint64_t evicted_window_seen_ = 0;
  uint64_t evicted_cap_seen_ = 0;
  int64_t kept_house_ns_ = 0;
  int64_t filling_woken_ns_ = 0;

  std::atomic<int64_t> commit_started_ns_{0};
  std::atomic<uint64_t> dedupe_entries_{0};
  std::atomic<int64_t> dedupe_window_ms_{0};
  std::atomic<uint64_t> dedupe_bytes_{0};
  std::atomic<uint64_t> duplicates_{0};
  std::mutex lost_mutex_;
  std::vector<std::pair<uint64_t, uint64_t>> lost_;
  std::atomic<bool> has_lost_{false};

  Gauge& waiting_;
  Histogram& commit_seconds_;
  Histogram& sync_seconds_;
  Histogram& commit_events_;
  Histogram& commit_bytes_;
  Counter& evicted_window_;
  Counter& evicted_cap_;
  const RefusalCounters refusals_;
};

}  // namespace weir::storage
