#include "bench/load/target_metrics.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace weir::bench {
namespace {

size_t collect(char* bytes, size_t size, size_t count, void* out) {
  static_cast<std::string*>(out)->append(bytes, size * count);
  return size * count;
}

bool is_cumulative(const std::string& series) {
  const std::string name = series.substr(0, series.find('{'));
  for (const char* suffix : {"_total", "_count", "_sum", "_bucket"})
    if (name.size() > std::string(suffix).size() && name.ends_with(suffix)) return true;
  return false;
}

}  // namespace

TargetMetrics read_target_metrics(const std::string& url) {
  TargetMetrics metrics;
  if (url.empty()) return metrics;
  CURL* curl = curl_easy_init();
  std::string body;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 3000L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_cleanup(curl);
  if (code != CURLE_OK) {
    std::fprintf(stderr, "cannot read %s: %s\n", url.c_str(), curl_easy_strerror(code));
    return metrics;
  }
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    if (line.empty() || line.front() == '#' || space == std::string::npos) continue;
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + space + 1, &end);
    if (*end == '\0') metrics[line.substr(0, space)] = value;
  }
  return metrics;
}

TargetMetrics difference(const TargetMetrics& before, const TargetMetrics& after) {
  TargetMetrics out;
  for (const auto& [series, value] : after) {
    const auto earlier = before.find(series);
    out[series] =
        is_cumulative(series) && earlier != before.end() ? value - earlier->second : value;
  }
  return out;
}

ProcessUsage usage_from(const TargetMetrics& metrics) {
  const auto first_of = [&](const char* ours, const char* common) {
    for (const char* name : {ours, common})
      if (const auto found = metrics.find(name); found != metrics.end()) return found->second;
    return -1.0;
  };
  ProcessUsage usage;
  usage.user_seconds = first_of("weir_process_cpu_seconds_total", "process_cpu_seconds_total");
  usage.known = usage.user_seconds >= 0;
  const auto bytes = [](double value) { return static_cast<uint64_t>(std::max(value, 0.0)); };
  usage.rss_bytes = bytes(first_of("weir_process_resident_bytes", "process_resident_memory_bytes"));
  usage.rss_anon_bytes = bytes(first_of("weir_process_anonymous_bytes", ""));
  return usage;
}

}  // namespace weir::bench
