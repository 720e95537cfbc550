// What the state half asks of the log half: how many events lie in a range, and how old one is.
// Implemented over commit blocks and, at the edges of a range, records.
// Path: cold (statistics, retention).  Thread: any; implementations synchronise themselves.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "storage/base/result.h"

namespace weir::storage {

struct TenantCounts {
  uint64_t events = 0;
  std::map<std::string, uint64_t, std::less<>> tenants;

  void add(const TenantCounts& other) {
    events += other.events;
    for (const auto& [tenant, count] : other.tenants) tenants[tenant] += count;
  }
};

class LogView {
 public:
  virtual ~LogView() = default;

  virtual unsigned shards() const = 0;
  // The lowest number on disk, and the next number to be committed. first == end: nothing there.
  virtual uint64_t first(unsigned shard) const = 0;
  virtual uint64_t end(unsigned shard) const = 0;
  // Adds the events on disk with first_number <= number <= last_number to *into. Gaps (set aside,
  // erased, deleted) count nothing.
  virtual Status count(unsigned shard, uint64_t first_number, uint64_t last_number,
                       TenantCounts* into) const = 0;
  // Received time of the first event at or after number; 0 when there is none.
  virtual int64_t received_ms(unsigned shard, uint64_t number) const = 0;
};

}  // namespace weir::storage
