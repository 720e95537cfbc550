#include "bench/load/result.h"

#include <fmt/format.h>

#include <functional>
#include <iterator>

#include "storage/base/json_text.h"

namespace weir::bench {
namespace {

constexpr double kQuantiles[] = {0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999};

double per(double value, double count) { return count <= 0 ? 0 : value / count; }

double ms(const RunResult& result, double quantile) {
  return static_cast<double>(result.total.latency.quantile_ns(quantile)) * 1e-6;
}

double mb(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

void append_latency(std::string& out, const LatencyHistogram& latency) {
  auto to = std::back_inserter(out);
  fmt::format_to(to, R"({{"count":{},"min":{},"mean":{:.0f},"max":{})", latency.total(),
                 latency.min_ns(), latency.mean_ns(), latency.max_ns());
  for (const double quantile : kQuantiles)
    fmt::format_to(to, R"(,"p{:g}":{})", quantile * 100, latency.quantile_ns(quantile));
  out += "}";
}

void append_tally(std::string& out, const Tally& tally) {
  fmt::format_to(
      std::back_inserter(out),
      R"("requests":{},"events":{},"duplicates":{},"bytes_sent":{},"wrong_answers":{},)"
      R"("status":{{"2xx":{},"3xx":{},"4xx":{},"5xx":{},"503":{}}},"disconnects":{},"connect_errors":{},"latency_ns":)",
      tally.requests, tally.events, tally.duplicates, tally.bytes_sent, tally.wrong_answers,
      tally.status_class[2], tally.status_class[3], tally.status_class[4], tally.status_class[5],
      tally.status_503, tally.disconnects, tally.connect_errors);
  append_latency(out, tally.latency);
}

void append_histogram(std::string& out, const LatencyHistogram& latency) {
  out += "\"histogram\":[";
  bool first = true;
  for (const auto& [bucket, count] : latency.used_buckets()) {
    fmt::format_to(std::back_inserter(out), "{}[{},{}]", first ? "" : ",", bucket, count);
    first = false;
  }
  out += "]";
}

void append_usage(std::string& out, const RunResult& result) {
  auto to = std::back_inserter(out);
  if (result.server.known)
    fmt::format_to(
        to,
        R"(,"server":{{"source":"{}","cpu_user_seconds":{:.3f},"cpu_system_seconds":{:.3f},"cpu_us_per_request":{:.3f},"cpu_us_per_event":{:.3f},"rss_bytes":{},"rss_anon_bytes":{}}})",
        result.server_source, result.server.user_seconds, result.server.system_seconds,
        result.cpu_us_per_request(), result.cpu_us_per_event(), result.server.rss_bytes,
        result.server.rss_anon_bytes);
  fmt::format_to(
      to,
      R"(,"load_generator":{{"threads":{},"cpu_seconds":{:.3f},"cpu_us_per_request":{:.3f},"busiest_thread":{:.3f}}})",
      result.threads, result.load_seconds, result.load_us_per_request(), result.busiest_thread);
  if (result.kernel_known)
    fmt::format_to(to, R"(,"kernel":{{"thread_cpu_seconds":{:.3f},"written_bytes":{}}})",
                   result.kernel.thread_seconds, result.kernel.written_bytes);
  const Verification& verified = result.verification;
  if (verified.done) {
    fmt::format_to(
        to,
        R"(,"verification":{{"acknowledged":{},"missing":{},"repeated":{},"unanswered_but_stored":{},"first_missing":)",
        verified.acknowledged, verified.missing, verified.repeated, verified.unasked);
    append_json_string(out, verified.first_missing);
    out += "}";
  }
}

}  // namespace

void Interval::add(const Interval& other) {
  tally.add(other.tally);
  seconds = std::max(seconds, other.seconds);
  load_seconds += other.load_seconds;
  // The target is the same: what one load host saw of it is not added to what another saw.
  server_seconds = std::max(server_seconds, other.server_seconds);
  kernel_seconds = std::max(kernel_seconds, other.kernel_seconds);
  rss_anon_bytes = std::max(rss_anon_bytes, other.rss_anon_bytes);
  written_bytes = std::max(written_bytes, other.written_bytes);
}

double RunResult::requests_per_second() const {
  return per(static_cast<double>(total.requests), seconds);
}
double RunResult::events_per_second() const {
  return per(static_cast<double>(total.events), seconds);
}
double RunResult::cpu_us_per_request() const {
  return per(server.cpu_seconds() * 1e6, static_cast<double>(total.requests));
}
double RunResult::cpu_us_per_event() const {
  return per(server.cpu_seconds() * 1e6, static_cast<double>(total.events));
}
double RunResult::load_us_per_request() const {
  return per(load_seconds * 1e6, static_cast<double>(total.requests));
}

std::string result_json(const RunResult& result) {
  std::string out = "{\"url\":";
  append_json_string(out, result.url);
  out += ",\"transport\":";
  append_json_string(out, result.transport);
  out += ",\"load\":";
  append_json_string(out, result.load);
  auto to = std::back_inserter(out);
  fmt::format_to(
      to,
      R"(,"started_at":"{}","seconds":{:.3f},"interval_seconds":{:g},"connections":{},"rate":{},)",
      result.started_at, result.seconds, result.interval_seconds, result.connections, result.rate);
  fmt::format_to(to, R"("requests_per_second":{:.1f},"events_per_second":{:.1f},)",
                 result.requests_per_second(), result.events_per_second());
  append_tally(out, result.total);
  append_usage(out, result);
  out += ",\"first_wrong_answer\":";
  append_json_string(out, result.first_wrong_answer);
  out += ",\"server_metrics\":{";
  bool first = true;
  for (const auto& [name, value] : result.server_metrics) {
    if (!first) out += ",";
    first = false;
    append_json_string(out, name);
    fmt::format_to(to, ":{:.12g}", value);
  }
  out += "},\"intervals\":[";
  for (size_t i = 0; i < result.intervals.size(); ++i) {
    const Interval& interval = result.intervals[i];
    out += i > 0 ? ",{" : "{";
    append_tally(out, interval.tally);
    fmt::format_to(
        to,
        R"(,"seconds":{:.3f},"server_cpu_seconds":{:.3f},"load_cpu_seconds":{:.3f},"kernel_cpu_seconds":{:.3f},"rss_anon_bytes":{},"written_bytes":{},)",
        interval.seconds, interval.server_seconds, interval.load_seconds, interval.kernel_seconds,
        interval.rss_anon_bytes, interval.written_bytes);
    append_histogram(out, interval.tally.latency);
    out += "}";
  }
  out += "],";
  append_histogram(out, result.total.latency);
  return out + "}\n";
}

std::string result_text(const RunResult& result) {
  const Tally& total = result.total;
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{}  {} connections, {}, {:.1f} s, {}\n", result.url, result.connections,
                 result.rate > 0 ? fmt::format("{:g} requests/s", result.rate) : "closed loop",
                 result.seconds, result.transport);
  fmt::format_to(to, "  sent      {}\n", result.load);
  fmt::format_to(to, "  answered  {:.0f} requests/s   {:.0f} events/s   {:.1f} MB/s sent\n",
                 result.requests_per_second(), result.events_per_second(),
                 per(static_cast<double>(total.bytes_sent) / 1e6, result.seconds));
  out += "  latency ";
  for (const double quantile : {0.5, 0.9, 0.99, 0.999})
    fmt::format_to(to, "  p{:g} {:.3f} ms", quantile * 100, ms(result, quantile));
  fmt::format_to(to, "   max {:.3f} ms\n", static_cast<double>(total.latency.max_ns()) * 1e-6);
  fmt::format_to(to,
                 "  answers   2xx {}   4xx {}   5xx {} (503: {})   wrong {}   disconnects {}   "
                 "connect errors {}\n",
                 total.status_class[2], total.status_class[4], total.status_class[5],
                 total.status_503, total.wrong_answers, total.disconnects, total.connect_errors);
  if (result.server.known)
    fmt::format_to(to,
                   "  server    {:.2f} us CPU/request   {:.3f} us CPU/event   RssAnon {:.1f} MB   "
                   "RSS {:.1f} MB\n",
                   result.cpu_us_per_request(), result.cpu_us_per_event(),
                   mb(result.server.rss_anon_bytes), mb(result.server.rss_bytes));
  fmt::format_to(to, "  load      {:.2f} us CPU/request   busiest of {} threads {:.0f} %{}\n",
                 result.load_us_per_request(), result.threads, result.busiest_thread * 100,
                 result.busiest_thread > 0.9
                     ? "   <- the load generator may be the limit: use more "
                       "threads (-t) or more load hosts"
                     : "");
  if (result.kernel_known)
    fmt::format_to(to, "  kernel    {:.2f} s CPU in its own threads, {:.1f} MB written back\n",
                   result.kernel.thread_seconds, mb(result.kernel.written_bytes));
  const Verification& verified = result.verification;
  if (verified.done) {
    fmt::format_to(to,
                   "  verified  {} events acknowledged, {} missing, {} repeated; {} more stored "
                   "whose answer was lost\n",
                   verified.acknowledged, verified.missing, verified.repeated, verified.unasked);
    if (!verified.first_missing.empty())
      fmt::format_to(to, "  first missing event: {}\n", verified.first_missing);
  }
  if (!result.first_wrong_answer.empty())
    fmt::format_to(to, "  first wrong answer: {}\n", result.first_wrong_answer);
  return out;
}

std::string comparison_text(const std::vector<RunResult>& results) {
  std::string out;
  const auto row = [&](std::string_view name, const std::function<double(const RunResult&)>& value,
                       int digits) {
    fmt::format_to(std::back_inserter(out), "  {:<22}", name);
    const double first = value(results.front());
    for (const RunResult& result : results) {
      const std::string ratio = &result == &results.front() || first == 0
                                    ? ""
                                    : fmt::format("x {:.2f}", value(result) / first);
      fmt::format_to(std::back_inserter(out), " {:>14.{}f} {:<8}", value(result), digits, ratio);
    }
    out += "\n";
  };
  for (size_t i = 0; i < results.size(); ++i)
    fmt::format_to(std::back_inserter(out), "{}: {} {}, {}\n", i + 1, results[i].started_at,
                   results[i].url, results[i].load);
  row("requests/s", &RunResult::requests_per_second, 0);
  row("events/s", &RunResult::events_per_second, 0);
  for (const double quantile : {0.5, 0.9, 0.99, 0.999})
    row(
        fmt::format("p{:g} ms", quantile * 100),
        [quantile](const RunResult& r) { return ms(r, quantile); }, 3);
  row("server us/request", &RunResult::cpu_us_per_request, 2);
  row("server us/event", &RunResult::cpu_us_per_event, 3);
  row(
      "server RssAnon MB", [](const RunResult& r) { return mb(r.server.rss_anon_bytes); }, 1);
  row("load us/request", &RunResult::load_us_per_request, 2);
  row(
      "wrong answers",
      [](const RunResult& r) { return static_cast<double>(r.total.wrong_answers); }, 0);
  row(
      "503", [](const RunResult& r) { return static_cast<double>(r.total.status_503); }, 0);
  return out;
}

}  // namespace weir::bench
