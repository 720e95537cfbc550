// Latencies in nanoseconds with 0.4 % resolution over the whole range, in constant memory.
// Log-linear buckets as in HdrHistogram (hdrhistogram.org): each power of two is divided into 256
// equal steps.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace weir::bench {

class LatencyHistogram {
 public:
  static constexpr unsigned kStepBits = 8;
  static constexpr size_t kSteps = size_t{1} << kStepBits;

  void record(uint64_t ns) {
    ++counts_[index_of(ns)];
    ++total_;
    sum_ns_ += ns;
    max_ns_ = std::max(max_ns_, ns);
    min_ns_ = std::min(min_ns_, ns);
  }

  void add(const LatencyHistogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
    sum_ns_ += other.sum_ns_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
    min_ns_ = std::min(min_ns_, other.min_ns_);
  }

  // The smallest recorded bucket bound at or below which `quantile` (0..1) of all values lie.
  uint64_t quantile_ns(double quantile) const {
    if (total_ == 0) return 0;
    const auto wanted =
        std::max<uint64_t>(1, static_cast<uint64_t>(quantile * static_cast<double>(total_) + 0.5));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(upper_bound(i), max_ns_);
    }
    return max_ns_;
  }

  uint64_t total() const { return total_; }
  uint64_t max_ns() const { return max_ns_; }
  uint64_t min_ns() const { return total_ == 0 ? 0 : min_ns_; }
  double mean_ns() const {
    return total_ == 0 ? 0 : static_cast<double>(sum_ns_) / static_cast<double>(total_);
  }

  // For results files: (bucket, count) of the buckets in use; merged by `weir-bench merge`.
  std::vector<std::pair<uint32_t, uint64_t>> used_buckets() const {
    std::vector<std::pair<uint32_t, uint64_t>> used;
    for (size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] != 0) used.emplace_back(static_cast<uint32_t>(i), counts_[i]);
    return used;
  }
  void add_bucket(uint32_t bucket, uint64_t count) {
    if (bucket >= counts_.size() || count == 0) return;
    counts_[bucket] += count;
    total_ += count;
    const uint64_t value = upper_bound(bucket);
    sum_ns_ += value * count;
    max_ns_ = std::max(max_ns_, value);
    min_ns_ = std::min(min_ns_, value);
  }

 private:
  static size_t index_of(uint64_t ns) {
    if (ns < kSteps) return ns;
    const auto power = static_cast<unsigned>(std::bit_width(ns)) - 1 - kStepBits;
    return std::min((size_t{power} + 1) * kSteps + ((ns >> power) - kSteps), kBuckets - 1);
  }
  static uint64_t upper_bound(size_t index) {
    if (index < kSteps) return index;
    const size_t power = index / kSteps - 1;
    return ((index % kSteps + kSteps + 1) << power) - 1;
  }

  static constexpr size_t kBuckets = kSteps * 36;  // up to 2^43 ns, more than two hours
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(kBuckets);
  uint64_t total_ = 0;
  uint64_t sum_ns_ = 0;
  uint64_t max_ns_ = 0;
  uint64_t min_ns_ = UINT64_MAX;
};

}  // namespace weir::bench
