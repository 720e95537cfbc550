#include "collector/admin/metrics_text.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <sstream>

namespace weir::admin {
namespace {

// Which of the cells' 48 buckets are exported: the same ones at each scrape, or sums over
// instances go wrong. Times: 1 µs to 69 s; numbers and bytes: 1 to 4 G.
struct BucketRange {
  size_t first;
  size_t last;
};
BucketRange range_of(const MetricInfo& info) {
  return info.unit_scale < 1 ? BucketRange{10, 36} : BucketRange{0, 32};
}

std::vector<prometheus::ClientMetric::Label> labels_of(const MetricInfo& info,
                                                       const MetricRegistry::Series& series) {
  std::vector<prometheus::ClientMetric::Label> labels;
  std::string_view names = info.labels;
  for (const std::string& value : series.label_values) {
    const size_t comma = names.find(',');
    labels.push_back({std::string(names.substr(0, comma)), value});
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
  }
  return labels;
}

void fill_histogram(const MetricInfo& info, const MetricRegistry::Series& series,
                    prometheus::ClientMetric& out) {
  const BucketRange range = range_of(info);
  uint64_t cumulative = 0;
  for (size_t i = 0; i < series.buckets.size(); ++i) {
    cumulative += series.buckets[i];
    if (i < range.first || i > range.last) continue;
    const double upper = static_cast<double>(uint64_t{1} << i) * info.unit_scale;
    out.histogram.bucket.push_back({cumulative, upper});
  }
  out.histogram.bucket.push_back({cumulative, std::numeric_limits<double>::infinity()});
  out.histogram.sample_count = cumulative;
  out.histogram.sample_sum = static_cast<double>(series.sum) * info.unit_scale;
}

prometheus::MetricType type_of(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

}  // namespace

std::string metrics_text(const MetricRegistry& registry) {
  std::vector<prometheus::MetricFamily> families;
  const Metric none = static_cast<Metric>(UINT16_MAX);
  Metric current = none;
  for (const MetricRegistry::Series& series : registry.collect()) {
    const MetricInfo& info = metric_info(series.metric);
    if (series.metric != current) {
      current = series.metric;
      prometheus::MetricFamily& family = families.emplace_back();
      family.name = info.name;
      family.help = info.help;
      family.type = type_of(info.type);
    }
    prometheus::ClientMetric& metric = families.back().metric.emplace_back();
    metric.label = labels_of(info, series);
    const double value = series.value * info.unit_scale;
    if (info.type == MetricType::kCounter) metric.counter.value = value;
    if (info.type == MetricType::kGauge) metric.gauge.value = value;
    if (info.type == MetricType::kHistogram) fill_histogram(info, series, metric);
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace weir::admin
