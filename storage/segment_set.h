// The segments of one store shard: what exists, what is in each, which are open.
// Path: warm (per commit, per read).  Thread: any; a mutex held for moments guards the list.
//
// Invariants
//   1. Segments ascend and do not overlap; the last one is the active one.
//   2. A sealed segment is opened for reading only after it was found sound in a child process (or
//      this process wrote it); one that is not goes to damaged/ and leaves a gap.
//   3. At most kMaxOpen sealed segments are open, besides those a reader is just using.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/base/result.h"
#include "storage/segment_check.h"
#include "storage/segment_env.h"
#include "storage/segment_summary.h"

namespace weir::storage {

class SegmentSet {
 public:
#ifdef WEIR_TINY_LIMITS
  static constexpr size_t kMaxOpen = 1;
#else
  static constexpr size_t kMaxOpen = 16;  // sealed ones; two descriptors each
#endif

  struct Row {
    SegmentSummary summary;
    uint64_t bytes = 0;  // of file and sidecar; the active one: as of the last look
    bool sealed = false;
    bool has_sidecar = false;
  };
  // on_damage: a segment was set aside while serving; its summary as far as it was known.
  SegmentSet(std::string directory, unsigned shard, DamageCheck& check,
             std::function<void(const SegmentSummary&)> on_damage);

  // ---- recovery, before there are threads
  void add_sealed(const SegmentSummary& summary, bool has_sidecar, bool known_sound);
  // Its sidecar is gone; false: no such segment.
  bool lose_sidecar(uint64_t first);
  void set_end(uint64_t end) { committed_end_.store(end, std::memory_order_release); }

  // ---- the writer
  // A new active segment from `first` on; the one before is sealed from here on.
  void activate(uint64_t first, std::shared_ptr<SegmentEnv> env);
  void record_commit(const CommitBlock& block, const SegmentHeader& header);
  uint64_t committed_end() const { return committed_end_.load(std::memory_order_acquire); }
  // After the writer's environment broke: readers go on with a new one.
  void reopen_active_for_reading();

  // Nobody will write the active segment any more: it is sealed where it ends. An empty one stays.
  void seal_active();

  // ---- any thread
  std::vector<Row> rows() const;
  std::vector<uint64_t> without_sidecar() const;  // the first numbers of sealed segments
  uint64_t first() const;  // the lowest number on disk, end when there is none
  void count_damaged(uint64_t segments) { damaged_.fetch_add(segments, std::memory_order_relaxed); }
  uint64_t damaged() const { return damaged_.load(std::memory_order_relaxed); }

  // The segment that holds `number`, or the next one above it, opened; none: nothing that is
  // committed at or above it. Numbers of segments that turn out to be damaged are skipped.
  struct Opened {
    std::shared_ptr<SegmentEnv> env;
    uint64_t first = 0;
    uint64_t last = 0;  // as of now; the active one may have grown since
    bool sealed = false;
  };
  Result<Opened> open_at(uint64_t number);

  // Writes the sidecar of a sealed segment that has none yet, and syncs the directory.
  Status write_sidecar(uint64_t first);
  // Takes a sealed segment off the list and unlinks its file (the sidecar stays).
  Status remove(uint64_t first);

  const std::string& directory() const { return directory_; }
  std::string path_of(uint64_t first) const;

 private:
  struct Segment {
    SegmentSummary summary;
    bool sealed = false;
    bool has_sidecar = false;
    bool sound = false;
    uint64_t bytes = 0;
    uint64_t last_use = 0;
    std::shared_ptr<SegmentEnv> env;
  };
  Segment* find(uint64_t first);  // with mutex_ held
  void close_surplus();           // with mutex_ held
  Status open_sealed(uint64_t first);

  const std::string directory_;
  const unsigned shard_;
  DamageCheck& check_;
  const std::function<void(const SegmentSummary&)> on_damage_;

  mutable std::mutex mutex_;
  std::vector<Segment> segments_;
  uint64_t uses_ = 0;
  std::atomic<uint64_t> committed_end_{1};
  std::atomic<uint64_t> damaged_{0};
  std::mutex opening_;  // one segment is checked and opened at a time
};

// Builds and writes the sidecar of a sound, sealed segment from its commit blocks.
Status build_sidecar(const std::shared_ptr<SegmentEnv>& env, const SegmentSummary& summary,
                     const std::string& path);
// Calls visit for the commit blocks of the groups that overlap first..last, the newest first; false
// from visit ends the walk. Goes from block to block: events are not read.
Status for_each_commit(const std::shared_ptr<SegmentEnv>& env, unsigned shard, uint64_t first,
                       uint64_t last, FunctionRef<bool(const CommitBlock&)> visit);

}  // namespace weir::storage
