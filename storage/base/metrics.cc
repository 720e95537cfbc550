#include "storage/base/metrics.h"

#include <algorithm>
#include <map>

#include "storage/base/check.h"

namespace weir {
namespace {

constexpr MetricInfo kTable[] = {
#define WEIR_METRIC_ROW(id, type, name, scale, labels, help) \
  {Metric::id, MetricType::type, name, scale, labels, help},
    WEIR_METRIC_TABLE(WEIR_METRIC_ROW)
#undef WEIR_METRIC_ROW
};

size_t label_count(std::string_view labels) {
  if (labels.empty()) return 0;
  return 1 + static_cast<size_t>(std::count(labels.begin(), labels.end(), ','));
}

}  // namespace

std::span<const MetricInfo> metric_table() { return kTable; }

const MetricInfo& metric_info(Metric metric) { return kTable[static_cast<size_t>(metric)]; }

MetricRegistry::Cell& MetricRegistry::new_cell(Metric metric, MetricType type,
                                               std::vector<std::string> label_values) {
  const MetricInfo& info = metric_info(metric);
  WEIR_CHECK(info.type == type, "{} has another type", info.name);
  WEIR_CHECK(label_values.size() == label_count(info.labels), "{} takes the labels {}", info.name,
             info.labels);
  size_t series = 0;
  for (const Cell& cell : cells_) series += cell.metric == metric;
  if (series >= kMaxSeries)
    for (std::string& value : label_values) value = "other";
  Cell& cell = cells_.emplace_back();
  cell.metric = metric;
  cell.label_values = std::move(label_values);
  return cell;
}

Counter& MetricRegistry::counter(Metric metric, std::vector<std::string> label_values) {
  std::lock_guard lock(mutex_);
  Cell& cell = new_cell(metric, MetricType::kCounter, std::move(label_values));
  cell.counter = std::make_unique<Counter>();
  return *cell.counter;
}

Gauge& MetricRegistry::gauge(Metric metric, std::vector<std::string> label_values) {
  std::lock_guard lock(mutex_);
  Cell& cell = new_cell(metric, MetricType::kGauge, std::move(label_values));
  cell.gauge = std::make_unique<Gauge>();
  return *cell.gauge;
}

Histogram& MetricRegistry::histogram(Metric metric, std::vector<std::string> label_values) {
  std::lock_guard lock(mutex_);
  Cell& cell = new_cell(metric, MetricType::kHistogram, std::move(label_values));
  cell.histogram = std::make_unique<Histogram>();
  return *cell.histogram;
}

void MetricRegistry::gauge_callback(Metric metric, std::vector<std::string> label_values,
                                    std::function<double()> read) {
  std::lock_guard lock(mutex_);
  new_cell(metric, MetricType::kGauge, std::move(label_values)).callback = std::move(read);
}

std::vector<MetricRegistry::Series> MetricRegistry::collect() const {
  std::lock_guard lock(mutex_);
  std::map<std::pair<Metric, std::vector<std::string>>, Series> merged;
  for (const Cell& cell : cells_) {
    Series& series = merged[{cell.metric, cell.label_values}];
    series.metric = cell.metric;
    series.label_values = cell.label_values;
    if (cell.counter) series.value += static_cast<double>(cell.counter->value());
    if (cell.gauge) series.value += static_cast<double>(cell.gauge->value());
    if (cell.callback) series.value += cell.callback();
    if (cell.histogram) {
      series.buckets.resize(Histogram::kBuckets);
      for (size_t i = 0; i < Histogram::kBuckets; ++i)
        series.buckets[i] += cell.histogram->bucket(i);
      series.sum += cell.histogram->sum();
    }
  }
  std::vector<Series> out;
  out.reserve(merged.size());
  for (auto& [key, series] : merged) out.push_back(std::move(series));
  return out;
}

}  // namespace weir
