#include "collector/metric_docs.h"

#include <fmt/format.h>

#include "storage/base/metric_table.h"

namespace weir {
namespace {

constexpr std::string_view kHead = R"(# Metrics

This page is generated from the table of metrics (storage/base/metric_table.h) by
`weir config metrics --markdown`; do not edit it.

`GET /metrics` on the admin listener answers in the Prometheus text format 0.0.4. Counters count
since the process started. Histograms have buckets at powers of two of their small unit
(nanoseconds, bytes, events) and are exported in base units (seconds, bytes).

| metric | type | labels | meaning |
|---|---|---|---|
)";

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "gauge";
}

}  // namespace

std::string metric_docs() {
  std::string out(kHead);
  for (const MetricInfo& info : metric_table()) {
    std::string labels;
    for (const char c : info.labels) {
      labels.push_back(c);
      if (c == ',') labels.push_back(' ');
    }
    out += fmt::format("| `{}` | {} | {} | {} |\n", info.name, type_name(info.type), labels,
                       info.help);
  }
  return out;
}

std::string metric_list() {
  std::string out;
  for (const MetricInfo& info : metric_table()) {
    std::string name(info.name);
    if (!info.labels.empty()) name += fmt::format("{{{}}}", info.labels);
    out += fmt::format("{:<10}{:<60} {}\n", type_name(info.type), name, info.help);
  }
  return out;
}

}  // namespace weir
