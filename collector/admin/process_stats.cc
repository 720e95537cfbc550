#include "collector/admin/process_stats.h"

#include <dirent.h>
#include <sys/resource.h>

#include <charconv>
#include <fstream>
#include <string>

#include "storage/base/log.h"

namespace weir::admin {
namespace {

// The number in a line like "RssAnon:     1234 kB".
uint64_t number_in(std::string_view line) {
  const size_t digit = line.find_first_of("0123456789");
  uint64_t number = 0;
  if (digit != std::string_view::npos)
    std::from_chars(line.data() + digit, line.data() + line.size(), number);
  return number;
}

uint64_t count_open_files() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  uint64_t count = 0;
  while (const dirent* entry = readdir(directory))
    if (entry->d_name[0] != '.') ++count;
  closedir(directory);
  return count - 1;  // without the directory itself
}

uint64_t nanoseconds(const timeval& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u +
         static_cast<uint64_t>(time.tv_usec) * 1000u;
}

}  // namespace

ProcessStats read_process_stats() {
  ProcessStats stats;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    stats.cpu_ns = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) stats.resident_bytes = number_in(line) * 1024;
    if (line.starts_with("RssAnon:")) stats.anonymous_bytes = number_in(line) * 1024;
    if (line.starts_with("Threads:")) stats.threads = number_in(line);
  }
  stats.open_files = count_open_files();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_open_files = limit.rlim_cur;
  return stats;
}

ProcessMetrics::ProcessMetrics(MetricRegistry& metrics)
    : cpu_(metrics.counter(Metric::kProcessCpu)),
      log_dropped_(metrics.counter(Metric::kLogDropped)),
      resident_(metrics.gauge(Metric::kProcessResident)),
      anonymous_(metrics.gauge(Metric::kProcessAnonymous)),
      open_files_(metrics.gauge(Metric::kProcessOpenFiles)),
      max_open_files_(metrics.gauge(Metric::kProcessMaxOpenFiles)),
      threads_(metrics.gauge(Metric::kProcessThreads)) {}

void ProcessMetrics::update() {
  const ProcessStats stats = read_process_stats();
  if (stats.cpu_ns > cpu_.value()) cpu_.add(stats.cpu_ns - cpu_.value());
  log_dropped_.add(log::dropped_lines() - log_dropped_.value());
  resident_.set(static_cast<int64_t>(stats.resident_bytes));
  anonymous_.set(static_cast<int64_t>(stats.anonymous_bytes));
  open_files_.set(static_cast<int64_t>(stats.open_files));
  max_open_files_.set(static_cast<int64_t>(stats.max_open_files));
  threads_.set(static_cast<int64_t>(stats.threads));
}

}  // namespace weir::admin
