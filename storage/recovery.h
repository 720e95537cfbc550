// What a start does with the log's files before anything else runs: believes only what is on disk
// and sound, sets the rest aside, seals what the last process left open, finds the next number,
// fills the dedupe index.
// Path: cold.  Thread: the opening one.
//
// Rules
//   - A file without a sidecar was not sealed. After an unclean stop it is synced and its cached
//     pages dropped before it is looked at: what a killed process wrote may never have reached the
//     disk, and a failed write leaves clean-looking pages behind.
//   - Then it is walked in a child process. Sound: it gets its sidecar and is never written again
//     (LMDB would trust its free list). Damaged: it goes to damaged/, its numbers are a gap.
//   - A segment with a sound sidecar is not read at all; it is walked before its first reader.
//   - The next number is above every number that may ever have been acknowledged: file names,
//     summaries, lane positions, and for damaged files the most events that fit into one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/dedupe_index.h"
#include "storage/log_view.h"
#include "storage/segment_check.h"
#include "storage/segment_set.h"
#include "storage/sidecar.h"
#include "storage/state.h"

namespace weir::storage {

// A sidecar whose segment was deleted: kept while its fingerprints are in the dedupe window.
struct OrphanSidecar {
  unsigned shard = 0;
  uint64_t first = 0;
  uint64_t bytes = 0;
  int64_t committed_ms = 0;
};

struct RecoveredShard {
  uint64_t next = 1;
  uint64_t damaged_segments = 0;  // found damaged at this start
  TenantCounts damaged_events;    // accepted events in damaged/, as far as sidecars know them
  std::vector<OrphanSidecar> orphans;
  std::unique_ptr<DedupeIndex> index;
};

class Recovery {
 public:
  Recovery(const std::string& directory, DamageCheck& check, const Clock& clock,
           MetricRegistry& metrics);

  // Lists the directory. Nothing is opened yet.
  Status scan();
  // The identity repeated in sidecars and segments; none when there are none.
  Result<std::optional<StoreIdentity>> identity();

  struct Known {
    StoreIdentity identity;
    bool clean_stop = false;
    uint64_t lowest_live = 1;  // segments below were deleted; their files are leftovers
    uint64_t frontier = 1;     // the highest lane position
    DedupeIndex::Options dedupe;
  };
  Result<RecoveredShard> recover(unsigned shard, const Known& known, SegmentSet& set);

 private:
  struct Files {
    bool segment = false;
    bool sidecar = false;
  };
  using ShardFiles = std::map<uint64_t, Files>;
  struct Work;

  Result<SegmentSummary> check(unsigned shard, uint64_t first, bool clean_stop);
  Status recover_file(uint64_t first, const Files& files, Work* work);
  Status recover_sealed(const SegmentSummary& summary, Work* work);
  Status recover_unsealed(uint64_t first, Work* work);
  Status drop_damaged(uint64_t first, const Error& error, Work* work);
  void add_damaged_directory(Work* work);
  using Readers = std::vector<std::unique_ptr<SidecarReader>>;
  void fill_index(Work* work);
  static void load(Readers& readers, DedupeIndex* index);
  void load_from_segment(const SegmentSummary& summary, const Error& error, Work* work);
  Status aside(const std::string& name, std::string_view kind, const std::string& problem);

  const std::string directory_;
  DamageCheck& check_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  std::vector<ShardFiles> shards_;
  // Walks done while looking for the identity, so that no file is walked twice.
  std::map<std::pair<unsigned, uint64_t>, Result<SegmentSummary>> checked_;
};

}  // namespace weir::storage
