// The body of one lease: reads ranges of the store for one consumer and encodes what it wants, as
// JSON or NDJSON (docs/pull.md), while it is read.
// Path: warm (per event).  Thread: the leases'.
//
// Invariants
//   1. At most max_events events and about max_bytes of records; one event always fits.
//   2. No transaction of the store is held outside of a call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "forwarder/batch.h"
#include "forwarder/compression.h"
#include "forwarder/encoder.h"
#include "forwarder/leases.h"

namespace weir::forwarder {

// What one range gave.
struct TakenRange {
  uint64_t next = 0;    // the first number that was not looked at
  uint64_t events = 0;  // that are in the body
  TenantTally tenants;
  TenantTally skipped;
  std::vector<storage::DeadLetter> undecodable;
  uint64_t missing = 0;
};

class LeaseBody {
 public:
  struct Head {
    std::string_view lease;
    std::string_view node;
    int64_t expires_ms = 0;
    uint32_t delivery = 0;
  };
  LeaseBody(storage::Store& store, const EventFilter& filter, std::string_view lane_name,
            BodyFormat format, uint64_t max_events, uint64_t max_bytes);

  void begin(const Head& head);
  // Reads first..last (or to the end of the log) until the body is full.
  Result<TakenRange> take(uint16_t shard, uint64_t first, uint64_t last, int64_t now_wall_ms);
  // An event that is not in the log any more.
  void add(const storage::StoredEvent& event, const EventFields& fields);

  // Whether an event of so many bytes may be added.
  bool fits(uint64_t bytes) const { return events_ == 0 || bytes_ + bytes <= max_bytes_; }
  bool full() const { return events_ >= max_events_ || bytes_ >= max_bytes_; }
  uint64_t events() const { return events_; }
  Status finish(uint64_t backlog_events, int64_t backlog_oldest_seconds, Compressor& compressor,
                std::string* body);

 private:
  storage::Store& store_;
  const EventFilter& filter_;
  const std::string_view lane_name_;
  const BodyFormat format_;
  const EventJson event_json_;
  const uint64_t max_events_;
  const uint64_t max_bytes_;
  std::string buffer_;
  uint64_t events_ = 0;
  uint64_t bytes_ = 0;  // of records; and half of what was encoded, when that is more
};

}  // namespace weir::forwarder
