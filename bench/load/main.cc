// weir-bench: a load generator for event collectors. See docs/benchmarking.md.

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "bench/load/result_file.h"
#include "bench/load/run.h"
#include "storage/base/ids.h"

namespace weir::bench {
namespace {

std::atomic<bool> g_stop{false};

struct CommandLine {
  LoadOptions load;
  RunSettings settings;
  std::string url;
  std::vector<std::string> mix;
  std::string shape = "native";
  std::string json_file;
  std::string html_file;
  std::vector<std::string> fail_if;
  double duration_s = 10;
  double warmup_s = 1;
  double ramp_s = 0;
};

// "100" or "100:2.5": batch size, weight.
bool parse_mix(const std::vector<std::string>& texts, std::vector<MixEntry>* mix) {
  mix->clear();
  for (const std::string& text : texts) {
    MixEntry entry;
    char* end = nullptr;
    entry.batch = static_cast<unsigned>(std::strtoul(text.c_str(), &end, 10));
    if (*end == ':') entry.weight = std::strtod(end + 1, &end);
    if (*end != '\0' || entry.batch == 0 || entry.weight <= 0) return false;
    mix->push_back(entry);
  }
  return !mix->empty();
}

// "p99>5ms", "wrong>0", "503>10", "events/s<100000", "missing>0": true when the run violates it.
Result<bool> violates(const RunResult& result, const std::string& rule) {
  const size_t sign = rule.find_first_of("<>");
  if (sign == std::string::npos)
    return fail(ErrorCode::kInvalidArgument, "--fail-if \"{}\": expected NAME>VALUE or NAME<VALUE",
                rule);
  const std::string name = rule.substr(0, sign);
  char* end = nullptr;
  double limit = std::strtod(rule.c_str() + sign + 1, &end);
  const std::string unit = end;
  if (unit == "us")
    limit *= 1e3;
  else if (unit == "ms")
    limit *= 1e6;
  else if (unit == "s")
    limit *= 1e9;
  else if (!unit.empty())
    return fail(ErrorCode::kInvalidArgument, "--fail-if \"{}\": unknown unit {}", rule, unit);
  double value = 0;
  if (name.size() > 1 && name[0] == 'p')
    value = static_cast<double>(
        result.total.latency.quantile_ns(std::strtod(name.c_str() + 1, nullptr) / 100));
  else if (name == "wrong")
    value = static_cast<double>(result.total.wrong_answers);
  else if (name == "503")
    value = static_cast<double>(result.total.status_503);
  else if (name == "disconnects")
    value = static_cast<double>(result.total.disconnects);
  else if (name == "requests/s")
    value = result.requests_per_second();
  else if (name == "events/s")
    value = result.events_per_second();
  else if (name == "cpu/request")
    value = result.cpu_us_per_request() * 1e3;
  else if (name == "cpu/event")
    value = result.cpu_us_per_event() * 1e3;
  else if (name == "missing")
    value = static_cast<double>(result.missing_events);
  else
    return fail(ErrorCode::kInvalidArgument,
                "--fail-if \"{}\": unknown figure {}; known are pNN, wrong, 503, disconnects, "
                "requests/s, events/s, cpu/request, cpu/event, missing",
                rule, name);
  return rule[sign] == '>' ? value > limit : value < limit;
}

void declare(CLI::App& app, CommandLine& line) {
  app.add_option("url", line.url,
                 "Where to send: http(s)://host:port/path; the path defaults to /v1/events");
  app.add_option("-c,--connections", line.load.connections, "Connections of all threads together")
      ->capture_default_str();
  app.add_option("-t,--threads", line.load.threads, "Load threads")->capture_default_str();
  app.add_option("-d,--duration", line.duration_s, "Seconds to measure")->capture_default_str();
  app.add_option("--warmup", line.warmup_s, "Seconds before the measurement")
      ->capture_default_str();
  app.add_option("-r,--rate", line.load.rate,
                 "Requests per second in all (open loop, free of coordinated omission); 0: as fast "
                 "as answers come")
      ->capture_default_str();
  app.add_option("--ramp", line.ramp_s, "Seconds over which the rate grows from 0")
      ->capture_default_str();
  app.add_option("--pipeline", line.load.pipeline, "Requests in flight per connection")
      ->capture_default_str();
  app.add_option("-m,--mix", line.mix, "Batch sizes, each with an optional weight: 1:90 100:10")
      ->expected(1, 16);
  app.add_option("-s,--event-bytes", line.load.event_bytes, "Size of one event's JSON text")
      ->capture_default_str();
  app.add_option("--duplicates", line.load.duplicates,
                 "Share of events that repeat an earlier id, 0 to 1");
  app.add_option("--malformed", line.load.malformed, "Share of requests that are not JSON, 0 to 1");
  app.add_option("--shape", line.shape, "native, ndjson, segment")->capture_default_str();
  app.add_flag("--gzip", line.load.gzip, "Compress bodies");
  app.add_option("-k,--key", line.load.keys, "Write keys, used in turn (X-Write-Key)");
  app.add_flag("--insecure", line.load.insecure, "Accept any TLS certificate");
  app.add_option("--engine", line.load.engine, "auto, io_uring, epoll")->capture_default_str();
  app.add_option("--cpu", line.load.cpus, "Pin load threads to these cores in turn");
  app.add_option("-n,--requests", line.load.max_requests, "Stop after so many requests");
  app.add_option("--run-id", line.load.run_id, "Prefix of all event ids; random by default");
  app.add_option("--pid", line.settings.server_pids,
                 "Processes under test, for their CPU and memory; default: whoever listens on the "
                 "port, if local");
  app.add_option("--metrics", line.settings.metrics_url,
                 "The target's Prometheus URL; its counters go into the result");
  app.add_option("--json", line.json_file, "Write the result to this file (- for standard output)");
  app.add_option("--html", line.html_file, "Write a self-contained report with plots to this file");
  app.add_option("--fail-if", line.fail_if,
                 "Exit with 1 when the result violates this, e.g. 'p99>5ms', 'wrong>0'");
  app.add_flag("--live", line.settings.live, "Show progress on the terminal");
}

bool complete(CommandLine& line) {
  if (!parse_url(line.url, &line.load.url)) {
    std::fprintf(stderr, "weir-bench: \"%s\" is not an http:// or https:// URL\n",
                 line.url.c_str());
    return false;
  }
  if (!line.mix.empty() && !parse_mix(line.mix, &line.load.mix)) {
    std::fprintf(stderr, "weir-bench: --mix takes sizes like 1, 100 or 100:2.5\n");
    return false;
  }
  if (line.shape == "ndjson")
    line.load.shape = Shape::kNdjson;
  else if (line.shape == "segment")
    line.load.shape = Shape::kSegment;
  else if (line.shape != "native") {
    std::fprintf(stderr, "weir-bench: unknown shape %s\n", line.shape.c_str());
    return false;
  }
  line.load.threads = std::max(1u, line.load.threads);
  line.load.connections = std::max(line.load.threads, line.load.connections);
  line.load.pipeline = std::max(1u, line.load.pipeline);
  line.load.duration_ms = static_cast<int64_t>(line.duration_s * 1000);
  line.load.warmup_ms = static_cast<int64_t>(line.warmup_s * 1000);
  line.load.ramp_ms = static_cast<int64_t>(line.ramp_s * 1000);
  if (line.load.run_id.empty()) line.load.run_id = StoreId::generate().text().substr(0, 8);
  return true;
}

void write_file(const std::string& path, const std::string& text) {
  if (path == "-")
    std::cout << text;
  else if (!path.empty())
    std::ofstream(path) << text;
}

int run(CommandLine& line) {
  if (!complete(line)) return 2;
  auto result = run_load(line.load, line.settings, &g_stop);
  if (!result) {
    std::fprintf(stderr, "weir-bench: %s\n", result.error().message.c_str());
    return 1;
  }
  std::cerr << result_text(*result);
  write_file(line.json_file, result_json(*result));
  write_file(line.html_file, report_html({*result}));
  int code = result->total.requests == 0 ? 1 : 0;
  for (const std::string& rule : line.fail_if) {
    auto violated = violates(*result, rule);
    if (!violated) {
      std::fprintf(stderr, "weir-bench: %s\n", violated.error().message.c_str());
      return 2;
    }
    if (*violated) {
      std::fprintf(stderr, "weir-bench: failed: %s\n", rule.c_str());
      code = 1;
    }
  }
  return code;
}

// merge: one result of several. compare: a report with all of them side by side.
struct FilesCommand {
  CLI::App* app = nullptr;
  std::vector<std::string> files;
  std::string json_file;
  std::string html_file;
};

int with_files(const FilesCommand& command, bool merge) {
  std::vector<RunResult> results;
  for (const std::string& file : command.files) {
    auto result = read_result(file);
    if (!result) {
      std::fprintf(stderr, "weir-bench: %s\n", result.error().message.c_str());
      return 1;
    }
    results.push_back(std::move(*result));
  }
  if (merge) results = {merge_results(results)};
  for (const RunResult& result : results) std::cerr << result_text(result);
  if (merge) write_file(command.json_file, result_json(results.front()));
  write_file(command.html_file, report_html(results));
  return 0;
}

void declare_files(CLI::App& app, FilesCommand& command, const char* name, const char* help) {
  command.app = app.add_subcommand(name, help);
  command.app->add_option("files", command.files, "Results written by --json")->required();
  command.app->add_option("--json", command.json_file, "Write the merged result to this file");
  command.app->add_option("--html", command.html_file, "Write the report to this file");
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  std::signal(SIGINT, [](int) { weir::bench::g_stop = true; });
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Load generator for event collectors: closed or open loop, every answer checked");
  weir::bench::CommandLine line;
  weir::bench::declare(app, line);
  weir::bench::FilesCommand merge;
  weir::bench::FilesCommand compare;
  weir::bench::declare_files(app, merge, "merge", "Add up the results of several load hosts");
  weir::bench::declare_files(app, compare, "compare", "Show several results side by side");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  if (merge.app->parsed()) return weir::bench::with_files(merge, true);
  if (compare.app->parsed()) return weir::bench::with_files(compare, false);
  return weir::bench::run(line);
}
