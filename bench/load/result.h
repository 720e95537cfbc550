// The outcome of a run: what is printed, written as JSON, merged and compared.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bench/load/load_thread.h"

namespace weir::bench {

// CPU and memory of the process under test over the measurement, read from /proc.
struct ProcessUsage {
  bool known = false;
  double user_seconds = 0;
  double system_seconds = 0;
  uint64_t rss_bytes = 0;
  uint64_t rss_anon_bytes = 0;
};

struct RunResult {
  std::string url;
  std::string transport;
  std::string started_at;  // RFC 3339
  double seconds = 0;      // of the measurement
  unsigned connections = 0;
  double rate = 0;
  std::string mix;
  Tally total;
  std::vector<Tally> per_second;
  ProcessUsage server;
  std::string first_wrong_answer;
  std::map<std::string, double>
      server_metrics;            // counters: difference over the run; gauges: at the end
  int64_t verified_events = -1;  // -1: not asked for
  int64_t missing_events = -1;

  double requests_per_second() const {
    return seconds <= 0 ? 0 : static_cast<double>(total.requests) / seconds;
  }
  double events_per_second() const {
    return seconds <= 0 ? 0 : static_cast<double>(total.events) / seconds;
  }
  double cpu_seconds() const { return server.user_seconds + server.system_seconds; }
  double cpu_us_per_request() const {
    return total.requests == 0 ? 0 : cpu_seconds() * 1e6 / static_cast<double>(total.requests);
  }
  double cpu_us_per_event() const {
    return total.events == 0 ? 0 : cpu_seconds() * 1e6 / static_cast<double>(total.events);
  }
};

std::string result_json(const RunResult& result);
std::string result_text(const RunResult& result);

}  // namespace weir::bench
