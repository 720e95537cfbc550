#include "bench/load/result_file.h"

#include <simdjson.h>

#include <algorithm>

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

// The quantiles a second's line of a file holds are enough to draw it again.
void read_second_latency(const element& from, Tally* tally) {
  element latency;
  if (from["latency_ns"].get(latency) != simdjson::SUCCESS) return;
  const uint64_t count = number(latency, "count");
  if (count == 0) return;
  LatencyHistogram& histogram = tally->latency;
  const std::pair<double, const char*> quantiles[] = {
      {0.5, "p50"}, {0.9, "p90"}, {0.99, "p99"}, {0.999, "p99.9"}};
  double from_share = 0;
  for (const auto& [share, name] : quantiles) {
    const auto covered = static_cast<uint64_t>((share - from_share) * static_cast<double>(count));
    const uint64_t ns = number(latency, name);
    for (uint64_t i = 0; i < std::max<uint64_t>(covered, 1) && i < 1000; ++i) histogram.record(ns);
    from_share = share;
  }
  histogram.record(number(latency, "max"));
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
  result.mix = text(root, "mix");
  result.started_at = text(root, "started_at");
  result.first_wrong_answer = text(root, "first_wrong_answer");
  result.seconds = real(root, "seconds");
  result.connections = static_cast<unsigned>(number(root, "connections"));
  result.rate = real(root, "rate");
  read_tally(root, &result.total);
  simdjson::dom::array buckets;
  if (root["histogram"].get(buckets) == simdjson::SUCCESS)
    for (const element pair : buckets) {
      uint64_t bucket = 0;
      uint64_t count = 0;
      if (pair.at(0).get(bucket) == simdjson::SUCCESS && pair.at(1).get(count) == simdjson::SUCCESS)
        result.total.latency.add_bucket(static_cast<uint32_t>(bucket), count);
    }
  simdjson::dom::array seconds;
  if (root["per_second"].get(seconds) == simdjson::SUCCESS)
    for (const element second : seconds) {
      read_tally(second, &result.per_second.emplace_back());
      read_second_latency(second, &result.per_second.back());
    }
  element server;
  if (root["server"].get(server) == simdjson::SUCCESS) {
    result.server.known = true;
    result.server.user_seconds = real(server, "cpu_user_seconds");
    result.server.system_seconds = real(server, "cpu_system_seconds");
    result.server.rss_bytes = number(server, "rss_bytes");
    result.server.rss_anon_bytes = number(server, "rss_anon_bytes");
  }
  return result;
}

RunResult merge_results(const std::vector<RunResult>& results) {
  RunResult merged = results.front();
  for (size_t i = 1; i < results.size(); ++i) {
    const RunResult& other = results[i];
    merged.seconds = std::max(merged.seconds, other.seconds);
    merged.connections += other.connections;
    merged.rate += other.rate;
    merged.total.add(other.total);
    if (merged.per_second.size() < other.per_second.size())
      merged.per_second.resize(other.per_second.size());
    for (size_t second = 0; second < other.per_second.size(); ++second)
      merged.per_second[second].add(other.per_second[second]);
    // The target is the same: whichever load host could see its process counts.
    if (!merged.server.known) merged.server = other.server;
    if (merged.first_wrong_answer.empty()) merged.first_wrong_answer = other.first_wrong_answer;
  }
  return merged;
}

}  // namespace weir::bench
