// The report: figures and plots as one page of HTML with inline SVG.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "bench/load/result_file.h"
#include "bench/load/svg_plot.h"
#include "storage/base/html_text.h"

namespace weir::bench {
namespace {

constexpr std::string_view kStyle = R"(<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>weir-bench report</title><style>
:root{color-scheme:light dark;--fg:#1f2937;--muted:#6b7280;--line:#e5e7eb;--bg:#fff;--card:#f9fafb;--bad:#b91c1c}
@media(prefers-color-scheme:dark){:root{--fg:#e5e7eb;--muted:#9ca3af;--line:#374151;--bg:#111827;--card:#1f2937;--bad:#f87171}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:960px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:0 0 .3rem}p.sub{color:var(--muted);margin:.2rem 0 1.4rem;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:.8rem;margin-bottom:1.6rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}.card b{display:block;white-space:nowrap;font-size:1.2rem;font-weight:600;font-variant-numeric:tabular-nums}
.card span{color:var(--muted);font-size:.85rem}.bad b{color:var(--bad)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}
th{font-weight:600;overflow-wrap:anywhere}th:first-child,td:first-child{text-align:left;color:var(--muted)}.ratio{color:var(--muted);font-size:.85em}
figure{margin:2.2rem 0 0}svg{width:100%;height:auto}svg text{fill:var(--muted);font-size:11px}.grid{stroke:var(--line);stroke-width:1}.scroll{overflow-x:auto}
.legend{margin:0;font-size:.85rem;color:var(--muted)}.legend span{margin-right:1rem}.key{display:inline-block;width:1.4em;height:0;border-top:3px solid var(--c);vertical-align:middle;margin-right:.4em}
.key.dashed{border-top-style:dashed}code{overflow-wrap:anywhere}</style>
)";

using Results = std::vector<RunResult>;

std::string name_of(const Results& results, size_t i) {
  return results.size() == 1 ? results[i].url : fmt::format("{}: {}", i + 1, results[i].url);
}

double ms(uint64_t ns) { return static_cast<double>(ns) * 1e-6; }

// Percentiles on the usual logarithmic axis: 0, 90, 99, 99.9, 99.99.
Plot latency_plot(const Results& results) {
  Plot plot{"Latency by percentile", "ms", "percentile of requests", true, {}, {}};
  constexpr int kNines = 4;
  for (const char* label : {"0", "90 %", "99 %", "99.9 %", "99.99 %"})
    plot.ticks.emplace_back(static_cast<double>(plot.ticks.size()) / kNines, label);
  plot.ticks.emplace_back(-std::log10(0.5) / kNines, "50 %");
  for (size_t i = 0; i < results.size(); ++i) {
    Curve& curve = plot.curves.emplace_back(Curve{name_of(results, i), i, false, {}});
    for (int step = 0; step <= 200; ++step) {
      const double x = step / 200.0;
      const double quantile = 1 - std::pow(10, -x * kNines);
      curve.points.emplace_back(x, ms(results[i].total.latency.quantile_ns(quantile)));
    }
  }
  return plot;
}

double run_seconds(const RunResult& result) {
  return result.interval_seconds * static_cast<double>(result.intervals.size());
}

// Curves over the time of the longest run. value: nothing where it is negative.
class OverTime {
 public:
  OverTime(const Results& results, std::string title, std::string unit, bool logarithmic = false)
      : results_(results) {
    plot_.title = std::move(title);
    plot_.unit = std::move(unit);
    plot_.x_title = "seconds since the measurement began";
    plot_.logarithmic = logarithmic;
    for (const RunResult& result : results) longest_ = std::max(longest_, run_seconds(result));
    const double step = std::max(1.0, std::ceil(longest_ / 8));
    for (double second = 0; second <= longest_; second += step)
      plot_.ticks.emplace_back(second / longest_, fmt::format("{:g}", second));
  }

  void add(const std::string& name, size_t color, bool dashed, const RunResult& result,
           const std::function<double(const Interval&)>& value) {
    Curve curve{name, color, dashed, {}};
    for (size_t i = 0; i < result.intervals.size(); ++i) {
      const double y = value(result.intervals[i]);
      const double middle = (static_cast<double>(i) + 0.5) * result.interval_seconds;
      if (y >= 0) curve.points.emplace_back(middle / longest_, y);
    }
    if (!curve.points.empty()) plot_.curves.push_back(std::move(curve));
  }
  void add_all(const std::function<double(const Interval&)>& value) {
    for (size_t i = 0; i < results_.size(); ++i)
      add(name_of(results_, i), i, false, results_[i], value);
  }
  void append(std::string& out) const {
    if (!plot_.curves.empty()) append_plot(out, plot_);
  }

 private:
  const Results& results_;
  double longest_ = 1;
  Plot plot_;
};

double per_second(uint64_t count, const RunResult& result) {
  return static_cast<double>(count) / result.interval_seconds;
}

double cores(double cpu_seconds, const Interval& interval) {
  return interval.seconds <= 0 ? -1 : 100 * cpu_seconds / interval.seconds;
}

void append_time_plots(std::string& out, const Results& results) {
  OverTime throughput(results, "Throughput over time", "per second");
  for (size_t i = 0; i < results.size(); ++i) {
    const RunResult& result = results[i];
    const std::string prefix = results.size() == 1 ? "" : fmt::format("{}: ", i + 1);
    throughput.add(prefix + "requests", i, false, result, [&](const Interval& interval) {
      return per_second(interval.tally.requests, result);
    });
    if (result.total.events > result.total.requests)
      throughput.add(prefix + "events", i, true, result, [&](const Interval& interval) {
        return per_second(interval.tally.events, result);
      });
  }
  throughput.append(out);

  OverTime latency(results, "Latency over time", "ms", true);
  for (size_t i = 0; i < results.size(); ++i)
    for (const auto& [quantile, name] : {std::pair{0.5, "p50"}, {0.99, "p99"}, {0.999, "p99.9"}}) {
      if (results.size() > 1 && quantile > 0.99) continue;
      const size_t color = results.size() > 1 ? i : quantile == 0.5 ? 0 : quantile == 0.99 ? 3 : 1;
      latency.add(results.size() == 1 ? name : fmt::format("{}: {}", i + 1, name), color,
                  results.size() > 1 && quantile == 0.5, results[i],
                  [quantile = quantile](const Interval& interval) {
                    const LatencyHistogram& histogram = interval.tally.latency;
                    return histogram.total() == 0 ? -1 : ms(histogram.quantile_ns(quantile));
                  });
    }
  latency.append(out);

  OverTime cpu(results, "CPU over time", "% of one core");
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string prefix = results.size() == 1 ? "" : fmt::format("{}: ", i + 1);
    if (results[i].server.known)
      cpu.add(prefix + "server", i, false, results[i],
              [](const Interval& one) { return cores(one.server_seconds, one); });
    cpu.add(prefix + "load generator", results.size() == 1 ? 3 : i, true, results[i],
            [](const Interval& one) { return cores(one.load_seconds, one); });
    if (results[i].kernel_known && results.size() == 1)
      cpu.add("kernel threads (writeback, journal)", 2, false, results[i],
              [](const Interval& one) { return cores(one.kernel_seconds, one); });
  }
  cpu.append(out);

  OverTime memory(results, "Anonymous memory of the server over time", "MB");
  memory.add_all([](const Interval& interval) {
    return interval.rss_anon_bytes == 0 ? -1 : static_cast<double>(interval.rss_anon_bytes) / 1e6;
  });
  memory.append(out);

  OverTime errors(results, "Errors over time", "per second");
  errors.add_all([&](const Interval& interval) {
    return static_cast<double>(interval.tally.errors() + interval.tally.status_class[4]);
  });
  for (const RunResult& result : results)
    if (result.total.errors() + result.total.status_class[4] > 0) return errors.append(out);
}

void append_cards(std::string& out, const RunResult& result) {
  const auto card = [&](std::string_view name, const std::string& value, bool bad = false) {
    out += fmt::format("<div class=\"card{}\"><b>{}</b><span>{}</span></div>\n", bad ? " bad" : "",
                       value, name);
  };
  out += "<div class=\"cards\">\n";
  card("requests/s", fmt::format("{:.0f}", result.requests_per_second()));
  card("events/s", fmt::format("{:.0f}", result.events_per_second()));
  card("p50", fmt::format("{:.3f} ms", ms(result.total.latency.quantile_ns(0.5))));
  card("p99", fmt::format("{:.3f} ms", ms(result.total.latency.quantile_ns(0.99))));
  if (result.server.known)
    card("server CPU per event", fmt::format("{:.3f} us", result.cpu_us_per_event()));
  card("wrong answers", fmt::format("{}", result.total.wrong_answers),
       result.total.wrong_answers > 0);
  if (result.verification.done)
    card("acknowledged but missing", fmt::format("{}", result.verification.missing),
         result.verification.missing > 0);
  out += "</div>\n";
}

void append_table(std::string& out, const Results& results) {
  const auto row = [&](std::string_view name,
                       const std::function<std::string(const RunResult&)>& cell) {
    out += fmt::format("<tr><td>{}</td>", name);
    for (const RunResult& result : results) out += "<td>" + html_text(cell(result)) + "</td>";
    out += "</tr>\n";
  };
  // A figure with its ratio to the first result's.
  const auto figure = [&](std::string_view name, std::string_view unit, int digits,
                          const std::function<double(const RunResult&)>& value) {
    out += fmt::format("<tr><td>{}</td>", name);
    for (const RunResult& result : results) {
      out += fmt::format("<td>{:.{}f}{}", value(result), digits, unit);
      if (&result != &results.front() && value(results.front()) > 0)
        out += fmt::format(" <span class=\"ratio\">x {:.2f}</span>",
                           value(result) / value(results.front()));
      out += "</td>";
    }
    out += "</tr>\n";
  };
  out += "<div class=\"scroll\"><table><tr><th></th>";
  for (size_t i = 0; i < results.size(); ++i)
    out += fmt::format("<th><i class=\"key\" style=\"--c:{}\"></i>{}</th>", plot_color(i),
                       html_text(name_of(results, i)));
  out += "</tr>\n";
  row("started", [](const RunResult& r) { return r.started_at; });
  row("load", [](const RunResult& r) {
    return fmt::format("{} connections, {}", r.connections,
                       r.rate > 0 ? fmt::format("open loop at {:g}/s", r.rate) : "closed loop");
  });
  row("sent", [](const RunResult& r) { return r.load; });
  figure("requests/s", "", 0, &RunResult::requests_per_second);
  figure("events/s", "", 0, &RunResult::events_per_second);
  for (const double quantile : {0.5, 0.9, 0.99, 0.999, 0.9999})
    figure(fmt::format("latency p{:g}", quantile * 100), " ms", 3,
           [quantile](const RunResult& r) { return ms(r.total.latency.quantile_ns(quantile)); });
  figure("latency max", " ms", 3, [](const RunResult& r) { return ms(r.total.latency.max_ns()); });
  if (std::any_of(results.begin(), results.end(),
                  [](const RunResult& r) { return r.server.known; })) {
    figure("server CPU per request", " us", 2, &RunResult::cpu_us_per_request);
    figure("server CPU per event", " us", 3, &RunResult::cpu_us_per_event);
    row("server RssAnon / RSS", [](const RunResult& r) {
      return fmt::format("{:.1f} / {:.1f} MB", static_cast<double>(r.server.rss_anon_bytes) / 1e6,
                         static_cast<double>(r.server.rss_bytes) / 1e6);
    });
  }
  figure("load generator CPU per request", " us", 2, &RunResult::load_us_per_request);
  row("busiest load thread",
      [](const RunResult& r) { return fmt::format("{:.0f} %", r.busiest_thread * 100); });
  row("kernel threads, written back", [](const RunResult& r) {
    return r.kernel_known ? fmt::format("{:.2f} s CPU, {:.1f} MB", r.kernel.thread_seconds,
                                        static_cast<double>(r.kernel.written_bytes) / 1e6)
                          : "not visible";
  });
  row("answers 2xx / 4xx / 503", [](const RunResult& r) {
    return fmt::format("{} / {} / {}", r.total.status_class[2], r.total.status_class[4],
                       r.total.status_503);
  });
  row("wrong answers", [](const RunResult& r) { return fmt::format("{}", r.total.wrong_answers); });
  row("disconnects, connect errors", [](const RunResult& r) {
    return fmt::format("{}, {}", r.total.disconnects, r.total.connect_errors);
  });
  row("verified", [](const RunResult& r) {
    const Verification& v = r.verification;
    return v.done ? fmt::format("{} acknowledged, {} missing, {} repeated", v.acknowledged,
                                v.missing, v.repeated)
                  : "not asked for";
  });
  out += "</table></div>\n";
}

}  // namespace

std::string report_html(const std::vector<RunResult>& results) {
  std::string out(kStyle);
  out += "<h1>weir-bench</h1>\n";
  if (results.size() == 1) {
    out += fmt::format("<p class=\"sub\">{}, {}</p>\n", html_text(results.front().url),
                       html_text(results.front().started_at));
    append_cards(out, results.front());
  } else {
    out += fmt::format("<p class=\"sub\">{} results side by side; ratios are to the first</p>\n",
                       results.size());
  }
  append_table(out, results);
  append_plot(out, latency_plot(results));
  append_time_plots(out, results);
  for (const RunResult& result : results)
    if (!result.first_wrong_answer.empty())
      out += "<p>First wrong answer of " + html_text(result.url) + ": <code>" +
             html_text(result.first_wrong_answer) + "</code></p>\n";
  return out + "</html>\n";
}

}  // namespace weir::bench
