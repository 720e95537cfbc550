// What is known about a segment without reading its events: the result of a damage check, the head
// of a sidecar, the row of inspect.
// Path: cold.  Thread: any; plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "storage/base/hash.h"
#include "storage/base/ids.h"
#include "storage/record_format.h"

namespace weir::storage {

struct SegmentSummary {
  unsigned shard = 0;
  uint64_t first = 0;  // the segment's name: numbers from here on
  uint64_t last = 0;   // the last committed number; first - 1 when there is none
  uint64_t events = 0;
  uint64_t payload_bytes = 0;
  uint64_t fingerprints = 0;  // events that have one
  int64_t created_ms = 0;
  int64_t committed_ms = 0;  // the last commit
  int64_t oldest_ms = 0;     // received times
  int64_t newest_ms = 0;
  bool has_identity = false;  // false for a segment without a commit
  StoreId store_id;
  DedupeSecret secret;
  std::map<std::string, uint64_t, std::less<>> tenants;

  bool empty() const { return events == 0; }
  void add(const CommitBlock& block);
};

void append_summary(std::string& out, const SegmentSummary& summary);
bool read_summary(ByteReader& reader, SegmentSummary* summary);

}  // namespace weir::storage
