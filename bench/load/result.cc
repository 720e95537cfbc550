#include "bench/load/result.h"

#include <fmt/format.h>

#include <iterator>

#include "storage/base/json_text.h"

namespace weir::bench {
namespace {

constexpr double kQuantiles[] = {0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999};

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

}  // namespace

std::string result_json(const RunResult& result) {
  std::string out = "{\"url\":";
  append_json_string(out, result.url);
  out += ",\"transport\":";
  append_json_string(out, result.transport);
  out += ",\"mix\":";
  append_json_string(out, result.mix);
  auto to = std::back_inserter(out);
  fmt::format_to(to, R"(,"started_at":"{}","seconds":{:.3f},"connections":{},"rate":{},)",
                 result.started_at, result.seconds, result.connections, result.rate);
  fmt::format_to(to, R"("requests_per_second":{:.1f},"events_per_second":{:.1f},)",
                 result.requests_per_second(), result.events_per_second());
  append_tally(out, result.total);
  if (result.server.known)
    fmt::format_to(
        to,
        R"(,"server":{{"cpu_user_seconds":{:.3f},"cpu_system_seconds":{:.3f},"cpu_us_per_request":{:.3f},"cpu_us_per_event":{:.3f},"rss_bytes":{},"rss_anon_bytes":{}}})",
        result.server.user_seconds, result.server.system_seconds, result.cpu_us_per_request(),
        result.cpu_us_per_event(), result.server.rss_bytes, result.server.rss_anon_bytes);
  if (result.verified_events >= 0)
    fmt::format_to(to, R"(,"verified_events":{},"missing_events":{})", result.verified_events,
                   result.missing_events);
  out += ",\"first_wrong_answer\":";
  append_json_string(out, result.first_wrong_answer);
  out += ",\"server_metrics\":{";
  bool first = true;
  for (const auto& [name, value] : result.server_metrics) {
    if (!first) out += ",";
    first = false;
    append_json_string(out, name);
    fmt::format_to(to, ":{:.6g}", value);
  }
  out += "},\"per_second\":[";
  for (size_t i = 0; i < result.per_second.size(); ++i) {
    if (i > 0) out += ",";
    out += "{";
    append_tally(out, result.per_second[i]);
    out += "}";
  }
  out += "],\"histogram\":[";
  first = true;
  for (const auto& [bucket, count] : result.total.latency.used_buckets()) {
    fmt::format_to(to, "{}[{},{}]", first ? "" : ",", bucket, count);
    first = false;
  }
  return out + "]}\n";
}

std::string result_text(const RunResult& result) {
  const Tally& total = result.total;
  std::string out;
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{}  {} connections, {}, {:.1f} s, {}\n", result.url, result.connections,
                 result.rate > 0 ? fmt::format("{:g} requests/s", result.rate) : "closed loop",
                 result.seconds, result.transport);
  fmt::format_to(to, "  {:.0f} requests/s   {:.0f} events/s   {:.1f} MB/s sent\n",
                 result.requests_per_second(), result.events_per_second(),
                 static_cast<double>(total.bytes_sent) / result.seconds / 1e6);
  out += "  latency";
  for (const double quantile : {0.5, 0.9, 0.99, 0.999})
    fmt::format_to(to, "   p{:g} {:.3f} ms", quantile * 100,
                   static_cast<double>(total.latency.quantile_ns(quantile)) * 1e-6);
  fmt::format_to(to, "   max {:.3f} ms\n", static_cast<double>(total.latency.max_ns()) * 1e-6);
  fmt::format_to(to,
                 "  answers 2xx {}   4xx {}   5xx {} (503: {})   wrong {}   disconnects {}   "
                 "connect errors {}\n",
                 total.status_class[2], total.status_class[4], total.status_class[5],
                 total.status_503, total.wrong_answers, total.disconnects, total.connect_errors);
  if (result.server.known)
    fmt::format_to(to,
                   "  server  {:.2f} us CPU/request   {:.3f} us CPU/event   RssAnon {:.1f} MB   "
                   "RSS {:.1f} MB\n",
                   result.cpu_us_per_request(), result.cpu_us_per_event(),
                   static_cast<double>(result.server.rss_anon_bytes) / 1e6,
                   static_cast<double>(result.server.rss_bytes) / 1e6);
  if (result.verified_events >= 0)
    fmt::format_to(to, "  verified  {} acknowledged events arrived, {} missing\n",
                   result.verified_events, result.missing_events);
  if (!result.first_wrong_answer.empty())
    fmt::format_to(to, "  first wrong answer: {}\n", result.first_wrong_answer);
  return out;
}

}  // namespace weir::bench
