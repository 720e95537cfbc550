// Counters that cost one plain add. Each cell has one writing thread; a scrape reads it with a
// relaxed load and sums the cells of one series. What exists is declared once, in metric_table.h.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/metric_table.h"

namespace weir {

// THREAD: one writer (the thread that asked for it); any thread may read.
class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(int64_t n) { set(value() + n); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Buckets at powers of two of the metric's unit: bucket i counts values in (2^(i-1), 2^i]. The unit
// is the small one named in the table (nanoseconds, bytes, events); export divides by unit_scale.
class Histogram {
 public:
  static constexpr size_t kBuckets = 48;
  void record(uint64_t value) {
    size_t bucket = value <= 1 ? 0 : static_cast<size_t>(std::bit_width(value - 1));
    if (bucket >= kBuckets) bucket = kBuckets - 1;
    buckets_[bucket].add();
    sum_.add(value);
  }
  uint64_t bucket(size_t i) const { return buckets_[i].value(); }
  uint64_t sum() const { return sum_.value(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_;
};

// Hands out cells and reads them back. Any thread may ask for a cell (takes a mutex: ask once, at
// start-up or when a label value is first seen, and keep the reference). Cells live as long as the
// registry. The number of label combinations per metric is bounded (kMaxSeries); past it every
// further combination shares the one labelled "other", so hostile input cannot grow memory.
class MetricRegistry {
 public:
  static constexpr size_t kMaxSeries = 1000;

  // Label values in the order in which the table names the labels.
  Counter& counter(Metric metric, std::vector<std::string> label_values = {});
  Gauge& gauge(Metric metric, std::vector<std::string> label_values = {});
  Histogram& histogram(Metric metric, std::vector<std::string> label_values = {});
  // A gauge that is computed when it is read. THREAD: read is called by the scraping thread.
  void gauge_callback(Metric metric, std::vector<std::string> label_values,
                      std::function<double()> read);

  struct Series {
    Metric metric{};
    std::vector<std::string> label_values;
    double value = 0;               // counters and gauges, in the table's unit
    std::vector<uint64_t> buckets;  // histograms: counts, not cumulative
    uint64_t sum = 0;               // histograms
  };
  // Sums over cells with equal labels, ordered as in the table, then by label values.
  std::vector<Series> collect() const;

 private:
  struct Cell {
    Metric metric{};
    std::vector<std::string> label_values;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
    std::function<double()> callback;
  };
  Cell& new_cell(Metric metric, MetricType type, std::vector<std::string> label_values);

  mutable std::mutex mutex_;
  std::deque<Cell> cells_;
};

}  // namespace weir
