// What the live view needs of the metrics: one pass over the registry.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "storage/base/metrics.h"

namespace weir::admin {

using LatencyBuckets = std::array<uint64_t, Histogram::kBuckets>;

struct MetricDigest {
  std::map<std::string, uint64_t> rejected;     // events, by reason, since the process started
  std::map<std::string, uint64_t> refused;      // requests answered 503, by reason
  std::map<std::string, uint64_t> connections;  // open now, by listener
  uint64_t body_memory_used = 0;
  uint64_t body_memory_limit = 0;
  uint64_t dedupe_bytes = 0;
  uint64_t append_queue = 0;  // requests
  uint64_t disk_free = 0;
  uint64_t store_max_bytes = 0;
  LatencyBuckets commit{};  // nanoseconds
  LatencyBuckets sync{};
};
MetricDigest digest_metrics(const MetricRegistry& metrics);

struct Quantiles {
  uint64_t count = 0;  // 0: nothing happened, the others mean nothing
  double p50_ms = 0;
  double p95_ms = 0;
  double p99_ms = 0;
};
// Of what was recorded between two readings; exact to the bucket, which are powers of two.
Quantiles quantiles_between(const LatencyBuckets& before, const LatencyBuckets& after);

}  // namespace weir::admin
