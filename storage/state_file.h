// The file of state: making it, checking it, falling back to its copy, writing the copy.
// Path: start-up, and once a minute.  Thread: the opening one; write_state_copy() is for any.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "storage/lmdb_file.h"
#include "storage/state.h"
#include "storage/state_format.h"

namespace weir::storage {

constexpr char kStateName[] = "state";
constexpr char kStateCopyName[] = "state.copy";

// Batch numbers carry in their upper bits how often state was lost, so that a number is never used
// twice although the copy does not know the latest.
constexpr unsigned kBatchGenerationShift = 40;

struct OpenedState {
  LmdbFile file;
  StateImage image;
  StateOrigin origin = StateOrigin::kCreated;
  std::map<std::pair<uint32_t, uint16_t>, uint64_t> delivery_rows;  // lane, shard -> rows
  // The file has its size, but from here on nothing was written yet. A file system may need more
  // space to write into reserved blocks than into written ones, so the state thread writes zeros
  // there, a piece at a time: making them all before the start takes too long.
  uint64_t unfilled_from = 0;
};

// See State::open().
Result<OpenedState> open_state_file(const StoreOptions& options, const Clock& clock,
                                    MetricRegistry& metrics,
                                    const State::RecoverIdentity& recover_identity);

// Writes every entry of file into state.copy: to a new file first, synced, then renamed over the
// old one. Entries whose checksum is wrong stop it: a good copy is never replaced by a bad one.
Status write_state_copy(const LmdbFile& file, const std::string& directory);

// Reads a whole state file after it was checked.
Result<StateImage> read_state_file(const std::string& path, bool in_use);

}  // namespace weir::storage
