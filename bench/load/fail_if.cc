#include "bench/load/fail_if.h"

#include <charconv>
#include <optional>

namespace weir::bench {
namespace {

constexpr std::string_view kKnown =
    "pNN (p50, p99.9), max, mean, wrong, 4xx, 503, errors, disconnects, connect-errors, "
    "requests/s, events/s, cpu/request, cpu/event, rss-anon (bytes), load-busy (0 to 1), missing, "
    "repeated";

bool parse_number(std::string_view text, double* value, std::string_view* rest) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (parsed.ec != std::errc()) return false;
  *rest = text.substr(static_cast<size_t>(parsed.ptr - text.data()));
  return true;
}

// "p99.9" -> 0.999
std::optional<double> quantile_of(const std::string& figure) {
  double percent = 0;
  std::string_view rest;
  if (figure.size() < 2 || figure[0] != 'p' ||
      !parse_number(std::string_view(figure).substr(1), &percent, &rest) || !rest.empty() ||
      percent <= 0 || percent > 100)
    return std::nullopt;
  return percent / 100;
}

// NaN: the run has no such figure.
double value_of(const RunResult& result, const std::string& figure) {
  const Tally& total = result.total;
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  const auto count = [](uint64_t value) { return static_cast<double>(value); };
  if (const auto quantile = quantile_of(figure)) return count(total.latency.quantile_ns(*quantile));
  if (figure == "max") return count(total.latency.max_ns());
  if (figure == "mean") return total.latency.mean_ns();
  if (figure == "wrong") return count(total.wrong_answers);
  if (figure == "4xx") return count(total.status_class[4]);
  if (figure == "503") return count(total.status_503);
  if (figure == "errors") return count(total.errors());
  if (figure == "disconnects") return count(total.disconnects);
  if (figure == "connect-errors") return count(total.connect_errors);
  if (figure == "requests/s") return result.requests_per_second();
  if (figure == "events/s") return result.events_per_second();
  if (figure == "load-busy") return result.busiest_thread;
  if (figure == "cpu/request")
    return result.server.known ? result.cpu_us_per_request() * 1e3 : unknown;
  if (figure == "cpu/event") return result.server.known ? result.cpu_us_per_event() * 1e3 : unknown;
  if (figure == "rss-anon")
    return result.server.known ? count(result.server.rss_anon_bytes) : unknown;
  if (figure == "missing")
    return result.verification.done ? count(result.verification.missing) : unknown;
  if (figure == "repeated")
    return result.verification.done ? count(result.verification.repeated) : unknown;
  return -1;
}

bool is_known(const std::string& figure) { return value_of(RunResult{}, figure) != -1; }

}  // namespace

Result<FailRule> parse_fail_rule(const std::string& text) {
  FailRule rule;
  rule.text = text;
  const size_t sign = text.find_first_of("<>");
  std::string_view unit;
  if (sign == std::string::npos ||
      !parse_number(std::string_view(text).substr(sign + 1), &rule.limit, &unit))
    return fail(ErrorCode::kInvalidArgument,
                "--fail-if \"{}\": expected NAME>VALUE or NAME<VALUE, as in p99>5ms", text);
  rule.figure = text.substr(0, sign);
  rule.above = text[sign] == '>';
  if (unit == "us")
    rule.limit *= 1e3;
  else if (unit == "ms")
    rule.limit *= 1e6;
  else if (unit == "s")
    rule.limit *= 1e9;
  else if (!unit.empty() && unit != "ns")
    return fail(ErrorCode::kInvalidArgument,
                "--fail-if \"{}\": unknown unit {}; there are ns us ms s", text, unit);
  if (!is_known(rule.figure))
    return fail(ErrorCode::kInvalidArgument, "--fail-if \"{}\": unknown figure {}; known are {}",
                text, rule.figure, kKnown);
  return rule;
}

Result<bool> violates(const RunResult& result, const FailRule& rule) {
  const double value = value_of(result, rule.figure);
  if (value != value)
    return fail(ErrorCode::kUnavailable,
                "--fail-if \"{}\": this run could not measure {} (cpu needs a local target or "
                "--metrics, missing needs --verify)",
                rule.text, rule.figure);
  return rule.above ? value > rule.limit : value < rule.limit;
}

}  // namespace weir::bench
