#include "collector/admin/metric_digest.h"

#include <algorithm>

namespace weir::admin {
namespace {

void add_buckets(LatencyBuckets& sum, const std::vector<uint64_t>& buckets) {
  for (size_t i = 0; i < std::min(sum.size(), buckets.size()); ++i) sum[i] += buckets[i];
}

double quantile_ms(const LatencyBuckets& counts, uint64_t total, double share) {
  const double rank = share * static_cast<double>(total);
  double below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto here = static_cast<double>(counts[i]);
    if (here > 0 && below + here >= rank) {
      const double upper = static_cast<double>(uint64_t{1} << i);
      const double lower = i == 0 ? 0 : upper / 2;
      return (lower + (upper - lower) * (rank - below) / here) / 1e6;
    }
    below += here;
  }
  return 0;
}

}  // namespace

MetricDigest digest_metrics(const MetricRegistry& metrics) {
  MetricDigest out;
  for (const MetricRegistry::Series& series : metrics.collect()) {
    const auto value = static_cast<uint64_t>(std::max(series.value, 0.0));
    const std::vector<std::string>& labels = series.label_values;
    switch (series.metric) {
      case Metric::kEvents:
        if (labels[1] == "rejected") out.rejected[labels[2]] += value;
        break;
      case Metric::kPipelineErrors:
        out.refused[labels[0]] += value;
        break;
      case Metric::kConnectionsOpen:
        out.connections[labels[0]] += value;
        break;
      case Metric::kBodyBudgetUsed:
        out.body_memory_used += value;
        break;
      case Metric::kBodyBudgetLimit:
        out.body_memory_limit += value;
        break;
      case Metric::kDedupeBytes:
        out.dedupe_bytes += value;
        break;
      case Metric::kAppendQueue:
        out.append_queue += value;
        break;
      case Metric::kDiskFreeBytes:
        out.disk_free = value;
        break;
      case Metric::kStoreMaxBytes:
        out.store_max_bytes = value;
        break;
      case Metric::kCommitSeconds:
        add_buckets(out.commit, series.buckets);
        break;
      case Metric::kSyncSeconds:
        add_buckets(out.sync, series.buckets);
        break;
      default:
        break;
    }
  }
  return out;
}

Quantiles quantiles_between(const LatencyBuckets& before, const LatencyBuckets& after) {
  LatencyBuckets counts{};
  Quantiles out;
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = after[i] >= before[i] ? after[i] - before[i] : 0;
    out.count += counts[i];
  }
  if (out.count == 0) return out;
  out.p50_ms = quantile_ms(counts, out.count, 0.50);
  out.p95_ms = quantile_ms(counts, out.count, 0.95);
  out.p99_ms = quantile_ms(counts, out.count, 0.99);
  return out;
}

}  // namespace weir::admin
