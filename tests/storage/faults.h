// Failing disks for one test program: linking faults.cc replaces the system calls that LMDB and the
// store make, so that the real code meets EIO, ENOSPC, a full map and a slow disk. No seam in the
// product.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir::storage::faults {

// What happens to files whose path contains "/seg-" or "/next-" (the log; never the state).
struct Plan {
  std::atomic<int> sync_error{0};         // errno of every fdatasync
  std::atomic<int> syncs_until_error{0};  // that many succeed first
  std::atomic<int> sync_delay_ms{0};      // each fdatasync takes that long
  std::atomic<int> write_error{0};        // errno of every write of data pages
  std::atomic<int> meta_error{0};         // errno of every write of a meta page
  std::atomic<int> commits_map_full{0};   // that many commits report a full map
  std::atomic<int> puts_map_full_at{0};   // the n-th put from now reports a full map
  std::atomic<int64_t> disk_free{-1};     // what statvfs answers; -1: the truth
  std::atomic<uint64_t> syncs{0};         // fdatasync calls so far
  void reset();
};
Plan& plan();

}  // namespace weir::storage::faults
