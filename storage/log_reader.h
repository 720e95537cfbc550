// Reading the log across its segments: events from a position, counts of a range, the position of
// an event by its fingerprint.
// Path: warm.  Thread: any; every transaction ends before a call returns.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "storage/base/metrics.h"
#include "storage/log_view.h"
#include "storage/segment_set.h"
#include "storage/store.h"

namespace weir::storage {

class LogReader final : public LogView {
 public:
  // LIFETIME: the sets outlive the reader.
  LogReader(std::vector<SegmentSet*> shards, MetricRegistry& metrics);

  // As Store::read.
  Result<ReadResult> read(unsigned shard, uint64_t from, const ReadLimits& limits,
                          FunctionRef<bool(const StoredEvent&)> visit) const;
  // The number of the newest event on disk with this fingerprint.
  Result<std::optional<uint64_t>> find(unsigned shard, const Fingerprint& fingerprint) const;
  // kNotFound: no segment on disk holds the number, or it is a gap.
  Result<EventPlace> place(unsigned shard, uint64_t number) const;

  unsigned shards() const override { return static_cast<unsigned>(shards_.size()); }
  uint64_t first(unsigned shard) const override { return shards_[shard]->first(); }
  uint64_t end(unsigned shard) const override { return shards_[shard]->committed_end(); }
  Status count(unsigned shard, uint64_t first_number, uint64_t last_number,
               TenantCounts* into) const override;
  int64_t received_ms(unsigned shard, uint64_t number) const override;

 private:
  struct Progress;
  bool read_segment(const SegmentSet::Opened& segment, unsigned shard, const ReadLimits& limits,
                    FunctionRef<bool(const StoredEvent&)> visit, Progress* progress) const;
  Status count_segment(const SegmentSummary& summary, uint64_t first_number, uint64_t last_number,
                       TenantCounts* into) const;

  std::vector<SegmentSet*> shards_;
  Counter& damaged_records_;
};

}  // namespace weir::storage
