#include "bench/load/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace weir::bench {
namespace {

constexpr double kBarWidth = 20;

// 1234567 as 1,234,567.
std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace

std::string progress_line(const Moment& moment) {
  const double share = moment.total_seconds <= 0
                           ? 1
                           : std::clamp(moment.passed_seconds / moment.total_seconds, 0.0, 1.0);
  const auto full = static_cast<size_t>(share * kBarWidth);
  const auto ms = [&](double quantile) {
    return static_cast<double>(moment.second.latency.quantile_ns(quantile)) * 1e-6;
  };
  std::string line = fmt::format(
      "[{}{}] {:.0f}/{:.0f} s{}  {} req/s  {} events/s  p50 {:.2f} ms  p99 {:.2f} ms",
      std::string(full, '#'), std::string(static_cast<size_t>(kBarWidth) - full, '.'),
      moment.passed_seconds, moment.total_seconds, moment.warming_up ? " (warm-up)" : "",
      grouped(moment.second.requests), grouped(moment.second.events), ms(0.5), ms(0.99));
  if (moment.server_cores >= 0) line += fmt::format("  server {:.0f} %", moment.server_cores * 100);
  return line +
         fmt::format("  load {:.0f} %  errors {}", moment.load_cores * 100, moment.errors_so_far);
}

Progress::~Progress() {
  if (terminal_ && shown_) std::fputs("\r\033[K", stderr);
}

void Progress::show(const Moment& moment) {
  shown_ = true;
  std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", progress_line(moment).c_str());
  std::fflush(stderr);
}

}  // namespace weir::bench
