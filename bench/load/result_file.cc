#include "bench/load/result_file.h"

#include <simdjson.h>

#include <algorithm>

#include "storage/base/clock.h"

namespace weir::bench {
namespace {

using simdjson::dom::element;

uint64_t number(const element& object, std::string_view key) {
  double value = 0;
  if (object[key].get(value) != simdjson::SUCCESS) return 0;
  return value <= 0 ? 0 : static_cast<uint64_t>(value);
}

double real(const element& object, std::string_view key) {
  double value = 0;
  return object[key].get(value) == simdjson::SUCCESS ? value : 0;
}

std::string text(const element& object, std::string_view key) {
  std::string_view value;
  return object[key].get(value) == simdjson::SUCCESS ? std::string(value) : std::string();
}

void read_tally(const element& from, Tally* tally) {
  tally->requests = number(from, "requests");
  tally->events = number(from, "events");
  tally->duplicates = number(from, "duplicates");
  tally->bytes_sent = number(from, "bytes_sent");
  tally->wrong_answers = number(from, "wrong_answers");
  tally->disconnects = number(from, "disconnects");
  tally->connect_errors = number(from, "connect_errors");
  element status;
  if (from["status"].get(status) != simdjson::SUCCESS) return;
  tally->status_class[2] = number(status, "2xx");
  tally->status_class[3] = number(status, "3xx");
  tally->status_class[4] = number(status, "4xx");
  tally->status_class[5] = number(status, "5xx");
  tally->status_503 = number(status, "503");
}

void read_histogram(const element& from, LatencyHistogram* histogram) {
  simdjson::dom::array buckets;
  if (from["histogram"].get(buckets) != simdjson::SUCCESS) return;
  for (const element pair : buckets) {
    uint64_t bucket = 0;
    uint64_t count = 0;
    if (pair.at(0).get(bucket) == simdjson::SUCCESS && pair.at(1).get(count) == simdjson::SUCCESS)
      histogram->add_bucket(static_cast<uint32_t>(bucket), count);
  }
}

void read_usage(const element& root, RunResult* result) {
  element part;
  if (root["server"].get(part) == simdjson::SUCCESS) {
    result->server.known = true;
    result->server_source = text(part, "source");
    result->server.user_seconds = real(part, "cpu_user_seconds");
    result->server.system_seconds = real(part, "cpu_system_seconds");
    result->server.rss_bytes = number(part, "rss_bytes");
    result->server.rss_anon_bytes = number(part, "rss_anon_bytes");
  }
  if (root["load_generator"].get(part) == simdjson::SUCCESS) {
    result->threads = static_cast<unsigned>(number(part, "threads"));
    result->load_seconds = real(part, "cpu_seconds");
    result->busiest_thread = real(part, "busiest_thread");
  }
  if (root["kernel"].get(part) == simdjson::SUCCESS) {
    result->kernel_known = true;
    result->kernel.thread_seconds = real(part, "thread_cpu_seconds");
    result->kernel.written_bytes = number(part, "written_bytes");
  }
  if (root["verification"].get(part) == simdjson::SUCCESS) {
    result->verification = {true,
                            number(part, "acknowledged"),
                            number(part, "missing"),
                            number(part, "repeated"),
                            number(part, "unanswered_but_stored"),
                            text(part, "first_missing")};
  }
}

Interval read_interval(const element& from) {
  Interval interval;
  read_tally(from, &interval.tally);
  read_histogram(from, &interval.tally.latency);
  interval.seconds = real(from, "seconds");
  interval.server_seconds = real(from, "server_cpu_seconds");
  interval.load_seconds = real(from, "load_cpu_seconds");
  interval.kernel_seconds = real(from, "kernel_cpu_seconds");
  interval.rss_anon_bytes = number(from, "rss_anon_bytes");
  interval.written_bytes = number(from, "written_bytes");
  return interval;
}

int64_t started_ms(const RunResult& result) {
  int64_t ms = 0;
  parse_rfc3339_ms(result.started_at, &ms);
  return ms;
}

}  // namespace

Result<RunResult> read_result(const std::string& path) {
  simdjson::dom::parser parser;
  element root;
  const auto error = parser.load(path).get(root);
  if (error != simdjson::SUCCESS)
    return fail(ErrorCode::kInvalidArgument, "{}: not a result of weir-bench --json: {}", path,
                simdjson::error_message(error));
  RunResult result;
  result.url = text(root, "url");
  if (result.url.empty())
    return fail(ErrorCode::kInvalidArgument, "{}: not a result of weir-bench --json", path);
  result.transport = text(root, "transport");
  result.load = text(root, "load");
  result.started_at = text(root, "started_at");
  result.first_wrong_answer = text(root, "first_wrong_answer");
  result.seconds = real(root, "seconds");
  result.interval_seconds = real(root, "interval_seconds");
  result.connections = static_cast<unsigned>(number(root, "connections"));
  result.rate = real(root, "rate");
  read_tally(root, &result.total);
  read_histogram(root, &result.total.latency);
  read_usage(root, &result);
  simdjson::dom::array intervals;
  if (root["intervals"].get(intervals) == simdjson::SUCCESS)
    for (const element interval : intervals) result.intervals.push_back(read_interval(interval));
  simdjson::dom::object metrics;
  if (root["server_metrics"].get(metrics) == simdjson::SUCCESS)
    for (const auto [name, value] : metrics) {
      double as_number = 0;
      if (value.get(as_number) == simdjson::SUCCESS)
        result.server_metrics[std::string(name)] = as_number;
    }
  return result;
}

// Intervals are laid side by side by the time each host began, to the nearest one.
RunResult merge_results(const std::vector<RunResult>& results) {
  const RunResult& earliest = *std::min_element(
      results.begin(), results.end(),
      [](const RunResult& a, const RunResult& b) { return started_ms(a) < started_ms(b); });
  RunResult merged = earliest;
  for (const RunResult& other : results) {
    if (&other == &earliest) continue;
    merged.seconds = std::max(merged.seconds, other.seconds);
    merged.connections += other.connections;
    merged.threads += other.threads;
    merged.rate += other.rate;
    merged.total.add(other.total);
    merged.load_seconds += other.load_seconds;
    merged.busiest_thread = std::max(merged.busiest_thread, other.busiest_thread);
    if (other.load != merged.load && merged.load.find(other.load) == std::string::npos)
      merged.load += " | " + other.load;
    const double apart = static_cast<double>(started_ms(other) - started_ms(earliest)) * 1e-3;
    const auto shift =
        static_cast<size_t>(std::max(0.0, apart / std::max(merged.interval_seconds, 1.0) + 0.5));
    if (merged.intervals.size() < other.intervals.size() + shift)
      merged.intervals.resize(other.intervals.size() + shift);
    for (size_t i = 0; i < other.intervals.size(); ++i)
      merged.intervals[i + shift].add(other.intervals[i]);
    // The target is the same: whichever load host could see its process counts.
    if (!merged.server.known) {
      merged.server = other.server;
      merged.server_source = other.server_source;
      merged.server_metrics = other.server_metrics;
    }
    if (merged.first_wrong_answer.empty()) merged.first_wrong_answer = other.first_wrong_answer;
    merged.verification.done = merged.verification.done || other.verification.done;
    merged.verification.acknowledged += other.verification.acknowledged;
    merged.verification.missing += other.verification.missing;
    merged.verification.repeated += other.verification.repeated;
    merged.verification.unasked += other.verification.unasked;
    if (merged.verification.first_missing.empty())
      merged.verification.first_missing = other.verification.first_missing;
  }
  return merged;
}

}  // namespace weir::bench
