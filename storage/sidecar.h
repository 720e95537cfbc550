// The sidecar of a sealed segment: its summary and its fingerprints, sorted. Restart fills the
// dedupe index from it without reading a payload; an event is looked up in it by its key. It
// outlives its segment until its fingerprints are out of the dedupe window.
// Path: cold.  Thread: any.
//
//   file  := "WEIRFP1\n" head_checksum:u64 table_checksum:u64 summary_size:u32 entries:u32
//            created_ms:i64 summary entry{entries}
//   entry := fingerprint:16 number - first:u32 (committed - created) / 1000:u32
//
// Entries ascend by fingerprint (high, then low). head_checksum is XXH3-64 over what follows it up
// to the entries, table_checksum over the entries: the summary of an old segment is believed
// without reading its table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/function_ref.h"
#include "storage/base/hash.h"
#include "storage/base/page_allocator.h"
#include "storage/base/result.h"
#include "storage/segment_summary.h"

namespace weir::storage {

struct SidecarEntry {
  uint64_t high = 0;
  uint64_t low = 0;
  uint32_t number_offset = 0;
  uint32_t time_offset_s = 0;
};
static_assert(sizeof(SidecarEntry) == 24);

struct KnownFingerprint {
  Fingerprint fingerprint;
  uint64_t number = 0;
  int64_t committed_ms = 0;
};

// Collects the fingerprints of a segment, commit block by commit block, and writes the file. Gives
// way every 0.1 ms or so: the writer, which may share the core, displaces nobody by itself.
class SidecarBuilder {
 public:
  explicit SidecarBuilder(const SegmentSummary& summary);
  void add(const CommitBlock& block);  // in any order
  // Sorts, writes <path>.tmp, syncs it, renames it. The directory is the caller's to sync.
  Status write(const std::string& path);

 private:
  SegmentSummary summary_;
  std::vector<SidecarEntry, PageAllocator<SidecarEntry>> entries_;
  uint64_t yielded_at_ = 0;  // so many entries
};

// Checks the whole file; visit gets every entry (fingerprint order). kCorrupt: damaged.
Result<SegmentSummary> read_sidecar(const std::string& path,
                                    FunctionRef<void(const KnownFingerprint&)> visit);
// The same for several at a time: the next entry of each, a piece of each file in memory.
class SidecarReader {
 public:
  // Checks the whole file. kCorrupt: damaged.
  static Result<std::unique_ptr<SidecarReader>> open(const std::string& path);
  ~SidecarReader();

  const SegmentSummary& summary() const;
  uint32_t entries() const;
  // The next entry, until skip(). False behind the last one.
  bool peek(KnownFingerprint* known);
  void skip();

 private:
  struct Impl;
  explicit SidecarReader(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};
// Only the head; the table is not looked at.
Result<SegmentSummary> read_sidecar_summary(const std::string& path);
// The number of an event by its fingerprint: a few reads by binary search, no checksum of the
// whole; the caller compares with the event's record if it is still there.
Result<std::optional<uint64_t>> find_in_sidecar(const std::string& path,
                                                const Fingerprint& fingerprint);

}  // namespace weir::storage
