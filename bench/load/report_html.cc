// The report: figures and plots as one page of HTML with inline SVG.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

#include "bench/load/result_file.h"
#include "storage/base/html_text.h"

namespace weir::bench {
namespace {

constexpr const char* kColors[] = {"#2563eb", "#dc2626", "#059669",
                                   "#d97706", "#7c3aed", "#0891b2"};
constexpr double kWidth = 860, kHeight = 300, kLeft = 70, kBottom = 40, kTop = 26, kRight = 30;

constexpr std::string_view kStyle = R"(<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>weir-bench report</title><style>
:root{color-scheme:light dark;--fg:#1f2937;--muted:#6b7280;--line:#d1d5db;--bg:#fff}
@media(prefers-color-scheme:dark){:root{--fg:#e5e7eb;--muted:#9ca3af;--line:#374151;--bg:#111827}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:920px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}svg text{fill:var(--muted);font-size:11px}h2{margin-top:2rem;font-size:1.1rem}
.grid{stroke:var(--line);stroke-width:1}.scroll{overflow-x:auto}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}</style>
)";

// The next number of the form 1, 2 or 5 x 10^n at or above value.
double round_up(double value) {
  if (value <= 0) return 1;
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 5.0, 10.0})
    if (value <= step * power) return step * power;
  return 10 * power;
}

struct Curve {
  std::vector<std::pair<double, double>> points;  // x in 0..1, y in the axis's unit
};

struct Plot {
  std::string unit;
  std::vector<std::pair<double, std::string>> ticks;  // x in 0..1 and its label
  std::vector<Curve> curves;
};

void append_plot(std::string& out, const Plot& plot) {
  double highest = 0;
  for (const Curve& curve : plot.curves)
    for (const auto& [x, y] : curve.points) highest = std::max(highest, y);
  highest = round_up(highest);
  const auto at_x = [](double x) { return kLeft + x * (kWidth - kLeft - kRight); };
  const auto at_y = [&](double y) {
    return kHeight - kBottom - y / highest * (kHeight - kBottom - kTop);
  };
  auto to = std::back_inserter(out);
  fmt::format_to(to, "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kWidth, kHeight,
                 plot.unit);
  for (int i = 0; i <= 4; ++i) {
    const double y = highest * i / 4;
    fmt::format_to(to, "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                   kLeft, kWidth - kRight, at_y(y), at_y(y));
    fmt::format_to(to, "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>", kLeft - 6,
                   at_y(y) + 4, y);
  }
  fmt::format_to(to, "<text x=\"4\" y=\"11\">{}</text>", plot.unit);
  for (const auto& [x, label] : plot.ticks)
    fmt::format_to(to, "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", at_x(x),
                   kHeight - kBottom + 18, label);
  for (size_t i = 0; i < plot.curves.size(); ++i) {
    fmt::format_to(to, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"{}\" points=\"",
                   kColors[i % std::size(kColors)]);
    for (const auto& [x, y] : plot.curves[i].points)
      fmt::format_to(to, "{:.1f},{:.1f} ", at_x(x), at_y(y));
    out += "\"/>";
  }
  out += "</svg>\n";
}

// Percentiles on the usual logarithmic axis: 0, 90, 99, 99.9, 99.99.
Plot latency_plot(const std::vector<RunResult>& results) {
  Plot plot{"ms", {}, {}};
  constexpr int kNines = 4;
  for (const char* label : {"0", "90 %", "99 %", "99.9 %", "99.99 %"})
    plot.ticks.emplace_back(static_cast<double>(plot.ticks.size()) / kNines, label);
  for (const RunResult& result : results) {
    Curve& curve = plot.curves.emplace_back();
    for (int i = 0; i <= 200; ++i) {
      const double x = i / 200.0;
      const double quantile = 1 - std::pow(10, -x * kNines);
      curve.points.emplace_back(
          x, static_cast<double>(result.total.latency.quantile_ns(quantile)) * 1e-6);
    }
  }
  return plot;
}

Plot over_time(const std::vector<RunResult>& results, std::string unit,
               const std::function<double(const Tally&)>& value) {
  Plot plot{std::move(unit), {}, {}};
  size_t longest = 1;
  for (const RunResult& result : results) longest = std::max(longest, result.per_second.size());
  const auto last = static_cast<double>(std::max<size_t>(longest - 1, 1));
  for (size_t second = 0; second < longest; second += std::max<size_t>(1, longest / 8))
    plot.ticks.emplace_back(static_cast<double>(second) / last, fmt::format("{} s", second));
  for (const RunResult& result : results) {
    Curve& curve = plot.curves.emplace_back();
    for (size_t second = 0; second < result.per_second.size(); ++second)
      curve.points.emplace_back(static_cast<double>(second) / last,
                                value(result.per_second[second]));
  }
  return plot;
}

void append_table(std::string& out, const std::vector<RunResult>& results) {
  const auto row = [&](std::string_view name,
                       const std::function<std::string(const RunResult&)>& cell) {
    out += fmt::format("<tr><td>{}</td>", name);
    for (const RunResult& result : results) out += "<td>" + html_text(cell(result)) + "</td>";
    out += "</tr>\n";
  };
  const auto ms = [](const RunResult& result, double quantile) {
    return fmt::format("{:.3f} ms",
                       static_cast<double>(result.total.latency.quantile_ns(quantile)) * 1e-6);
  };
  out += "<div class=\"scroll\"><table><tr><th></th>";
  for (size_t i = 0; i < results.size(); ++i)
    out += fmt::format("<th><span class=\"key\" style=\"background:{}\"></span>{}</th>",
                       kColors[i % std::size(kColors)], html_text(results[i].url));
  out += "</tr>\n";
  row("started", [](const RunResult& r) { return r.started_at; });
  row("load", [](const RunResult& r) {
    return fmt::format("{} connections, {}, {}", r.connections,
                       r.rate > 0 ? fmt::format("{:g}/s open loop", r.rate) : "closed loop", r.mix);
  });
  row("requests/s",
      [](const RunResult& r) { return fmt::format("{:.0f}", r.requests_per_second()); });
  row("events/s", [](const RunResult& r) { return fmt::format("{:.0f}", r.events_per_second()); });
  for (const double quantile : {0.5, 0.9, 0.99, 0.999})
    row(fmt::format("latency p{:g}", quantile * 100),
        [&](const RunResult& r) { return ms(r, quantile); });
  row("latency max", [](const RunResult& r) {
    return fmt::format("{:.3f} ms", static_cast<double>(r.total.latency.max_ns()) * 1e-6);
  });
  row("server CPU per request", [](const RunResult& r) {
    return r.server.known ? fmt::format("{:.2f} us", r.cpu_us_per_request()) : "not visible";
  });
  row("server CPU per event", [](const RunResult& r) {
    return r.server.known ? fmt::format("{:.3f} us", r.cpu_us_per_event()) : "not visible";
  });
  row("server RssAnon / RSS", [](const RunResult& r) {
    return r.server.known ? fmt::format("{:.1f} / {:.1f} MB",
                                        static_cast<double>(r.server.rss_anon_bytes) / 1e6,
                                        static_cast<double>(r.server.rss_bytes) / 1e6)
                          : "not visible";
  });
  row("answers 2xx / 4xx / 503", [](const RunResult& r) {
    return fmt::format("{} / {} / {}", r.total.status_class[2], r.total.status_class[4],
                       r.total.status_503);
  });
  row("wrong answers", [](const RunResult& r) { return fmt::format("{}", r.total.wrong_answers); });
  row("disconnects", [](const RunResult& r) { return fmt::format("{}", r.total.disconnects); });
  out += "</table></div>\n";
}

}  // namespace

std::string report_html(const std::vector<RunResult>& results) {
  std::string out(kStyle);
  out += "<h1>weir-bench</h1>\n";
  append_table(out, results);
  out += "<h2>Latency by percentile</h2>\n";
  append_plot(out, latency_plot(results));
  out += "<h2>Requests per second over time</h2>\n";
  append_plot(out, over_time(results, "requests/s", [](const Tally& tally) {
                return static_cast<double>(tally.requests);
              }));
  out += "<h2>p99 over time</h2>\n";
  append_plot(out, over_time(results, "ms", [](const Tally& tally) {
                return static_cast<double>(tally.latency.quantile_ns(0.99)) * 1e-6;
              }));
  for (const RunResult& result : results)
    if (!result.first_wrong_answer.empty())
      out += "<p>First wrong answer of " + html_text(result.url) + ": <code>" +
             html_text(result.first_wrong_answer) + "</code></p>\n";
  return out + "</html>\n";
}

}  // namespace weir::bench
