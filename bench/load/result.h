// The outcome of a run: what is printed, written as JSON, merged and compared.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bench/load/process_usage.h"
#include "bench/load/tally.h"

namespace weir::bench {

// One interval of the measurement: what was answered, and who was busy meanwhile.
struct Interval {
  Tally tally;
  double seconds = 0;         // as measured; 0: nobody was watching the machine
  double server_seconds = 0;  // CPU time of the process under test
  double load_seconds = 0;    // of the load generator
  double kernel_seconds = 0;  // of kernel threads
  uint64_t rss_anon_bytes = 0;
  uint64_t written_bytes = 0;

  void add(const Interval& other);  // of another load host, for the same stretch of time
};

// What --verify found.
struct Verification {
  bool done = false;
  uint64_t acknowledged = 0;  // events a 2xx was received for
  uint64_t missing = 0;       // of these, not among the events the consumer got
  uint64_t repeated = 0;      // events the consumer got at two positions
  uint64_t unasked = 0;       // events of this run whose answer never came, stored nevertheless
  std::string first_missing;
};

struct RunResult {
  std::string url;
  std::string transport;
  std::string started_at;  // RFC 3339
  std::string load;        // shape, mix, sizes, coding: what was sent
  double seconds = 0;      // of the measurement
  double interval_seconds = 1;
  unsigned connections = 0;
  unsigned threads = 1;
  double rate = 0;
  Tally total;
  std::vector<Interval> intervals;
  std::string server_source;  // "/proc", "metrics", or empty: not visible
  ProcessUsage server;        // times: over the measurement; memory: at its end
  double load_seconds = 0;    // CPU time of all load threads
  double busiest_thread = 0;  // share of a core the busiest load thread used
  KernelUsage kernel;         // over the measurement; the whole machine
  bool kernel_known = false;
  std::string first_wrong_answer;
  // Counters: difference over the run; gauges: at the end.
  std::map<std::string, double> server_metrics;
  Verification verification;

  double requests_per_second() const;
  double events_per_second() const;
  double cpu_us_per_request() const;
  double cpu_us_per_event() const;
  double load_us_per_request() const;
};

std::string result_json(const RunResult& result);
std::string result_text(const RunResult& result);
// Several results as a table, one column each, with ratios to the first.
std::string comparison_text(const std::vector<RunResult>& results);

}  // namespace weir::bench
