#include "bench/load/command_line.h"

#include <charconv>
#include <cmath>

#include "bench/load/request_shapes.h"
#include "storage/base/ids.h"

namespace weir::bench {
namespace {

constexpr unsigned kRangeSteps = 8;
constexpr unsigned kMaxBatch = 1'000'000;

// A number at the start of *text, which moves behind it.
bool take_number(std::string_view* text, double* value) {
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), *value);
  if (parsed.ec != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(parsed.ptr - text->data()));
  return true;
}

bool take(std::string_view* text, char sign) {
  if (text->empty() || text->front() != sign) return false;
  text->remove_prefix(1);
  return true;
}

// "400" or "200-16000": one size, or several spread evenly on a logarithmic scale.
bool parse_sizes(std::string_view text, std::vector<unsigned>* sizes) {
  double low = 0;
  double high = 0;
  if (!take_number(&text, &low)) return false;
  high = low;
  const bool range = take(&text, '-');
  if (range && !take_number(&text, &high)) return false;
  if (!text.empty() || low < 1 || high < low || high > (64 << 20)) return false;
  if (!range || low == high) {
    *sizes = {static_cast<unsigned>(low)};
    return true;
  }
  for (unsigned i = 0; i < kRangeSteps; ++i)
    sizes->push_back(
        static_cast<unsigned>(std::lround(low * std::pow(high / low, i / (kRangeSteps - 1.0)))));
  return true;
}

void declare_load(CLI::App& app, CommandLine& line) {
  app.add_option("-c,--connections", line.load.connections, "Connections of all threads together")
      ->capture_default_str();
  app.add_option("-t,--threads", line.load.threads, "Load threads")->capture_default_str();
  app.add_option("-d,--duration", line.duration, "How long to measure: 30, 10m, 8h")
      ->capture_default_str();
  app.add_option("--warmup", line.warmup, "How long to load before the measurement")
      ->capture_default_str();
  app.add_option("-r,--rate", line.load.rate,
                 "Requests per second in all (open loop, free of coordinated omission); 0: as fast "
                 "as answers come (closed loop)")
      ->capture_default_str();
  app.add_option("--ramp", line.ramp,
                 "How long until full load, from the warm-up on: the rate grows from 0, in a "
                 "closed loop connections open one by one")
      ->capture_default_str();
  app.add_option("-n,--requests", line.load.max_requests, "Stop after so many requests");
  app.add_option("--pipeline", line.load.pipeline, "Requests in flight per connection")
      ->capture_default_str();
  app.add_option("--engine", line.load.engine, "auto, io_uring, epoll (https is epoll's)")
      ->capture_default_str();
  app.add_option("--cpu", line.load.cpus, "Pin load threads to these cores in turn");
  app.add_flag("--insecure", line.load.insecure, "Accept any TLS certificate");
}

void declare_events(CLI::App& app, CommandLine& line) {
  app.add_option("--shape", line.load.shape,
                 "How requests look: native, ndjson, segment, posthog, …; see --list-shapes")
      ->capture_default_str();
  app.add_flag("--list-shapes", line.list_shapes, "List the request shapes and end");
  app.add_option("-m,--mix", line.mix,
                 "Events per request, each with an optional size and weight: 1:90 100:10, or "
                 "1x200:50 1x16000:5 1000x400:1")
      ->expected(1, 32);
  app.add_option("-s,--event-bytes", line.event_bytes,
                 "Size of one event's JSON text, or a range: 200-16000")
      ->capture_default_str();
  app.add_option("--duplicates", line.duplicates, "Events that repeat an earlier id: 5% or 0.05");
  app.add_option("--malformed", line.malformed, "Requests that are broken: 1% or 0.01");
  app.add_option("--compress", line.compress, "Bodies: none, gzip, zstd")->capture_default_str();
  app.add_flag("--gzip", line.gzip, "The same as --compress gzip");
  app.add_option("-k,--key", line.load.keys, "Write keys, used in turn")->expected(1, 1000);
  app.add_option("-H,--header", line.load.headers, "Further request headers, 'Name: value'");
  app.add_option("--run-id", line.load.run_id,
                 "Prefix of all event ids; random by default. The same again repeats the same ids");
}

void declare_results(CLI::App& app, CommandLine& line) {
  app.add_option("--pid", line.settings.server_pids,
                 "Processes under test, for their CPU and memory; default: whoever listens on the "
                 "port, if local");
  app.add_option("--metrics", line.settings.metrics_url,
                 "The target's Prometheus URL: its counters go into the result, and its CPU and "
                 "memory when the target is on another host");
  app.add_option("--verify", line.verify.admin_url,
                 "The target's admin listener, http(s)://host:port: check through a temporary "
                 "consumer that every acknowledged event arrived; WEIR_TOKEN is its token");
  app.add_option("--json", line.json_file, "Write the result to this file (- for standard output)");
  app.add_option("--html", line.html_file, "Write a self-contained report with plots to this file");
  app.add_option("--fail-if", line.fail_if,
                 "Exit with 1 when the result is so: 'p99>5ms', 'wrong>0', 'events/s<100000'");
  app.add_flag("--live", line.live, "Show progress also when standard error is not a terminal");
  app.add_flag("--no-live", line.no_live, "Show no progress");
}

Status complete_load(CommandLine& line) {
  LoadOptions& load = line.load;
  if (!parse_url(line.url, &load.url))
    return fail(ErrorCode::kInvalidArgument, "\"{}\" is not an http:// or https:// URL", line.url);
  if (!parse_duration_ms(line.duration, &load.duration_ms) || load.duration_ms <= 0)
    return fail(ErrorCode::kInvalidArgument, "--duration takes a time like 30, 500ms, 10m or 8h");
  if (!parse_duration_ms(line.warmup, &load.warmup_ms))
    return fail(ErrorCode::kInvalidArgument, "--warmup takes a time like 1, 500ms or 1m");
  if (!parse_duration_ms(line.ramp, &load.ramp_ms))
    return fail(ErrorCode::kInvalidArgument, "--ramp takes a time like 30, 500ms or 10m");
  if (load.engine != "auto" && load.engine != "io_uring" && load.engine != "epoll")
    return fail(ErrorCode::kInvalidArgument, "--engine is auto, io_uring or epoll");
  if (load.rate < 0) return fail(ErrorCode::kInvalidArgument, "--rate cannot be negative");
  load.threads = std::max(1u, load.threads);
  load.connections = std::max(load.threads, load.connections);
  load.pipeline = std::max(1u, load.pipeline);
  load.fresh_ids = load.run_id.empty();
  if (load.fresh_ids) load.run_id = StoreId::generate().text().substr(0, 8);
  for (const std::string& header : load.headers)
    if (header.find(':') == std::string::npos || header.find_first_of("\r\n") != std::string::npos)
      return fail(ErrorCode::kInvalidArgument, "--header \"{}\": expected Name: value", header);
  return {};
}

Status complete_events(CommandLine& line) {
  LoadOptions& load = line.load;
  const RequestShape* shape = find_shape(load.shape);
  if (shape == nullptr)
    return fail(ErrorCode::kInvalidArgument, "unknown shape {}; there are:\n{}", load.shape,
                shapes_text());
  const std::vector<std::string> one = {"1"};
  if (!parse_mix(line.mix.empty() ? one : line.mix, line.event_bytes, &load.mix))
    return fail(ErrorCode::kInvalidArgument,
                "--mix takes sizes like 1, 100:2.5 or 1x16000:5, --event-bytes one like 400 or "
                "200-16000");
  for (const MixEntry& entry : load.mix)
    if (entry.batch > 1 && !shape->batches)
      return fail(ErrorCode::kInvalidArgument, "--shape {} sends one event a request, not {}",
                  load.shape, entry.batch);
  if (!line.duplicates.empty() && !parse_share(line.duplicates, &load.duplicates))
    return fail(ErrorCode::kInvalidArgument, "--duplicates takes a share like 5% or 0.05");
  if (!line.malformed.empty() && !parse_share(line.malformed, &load.malformed))
    return fail(ErrorCode::kInvalidArgument, "--malformed takes a share like 1% or 0.01");
  if (line.gzip) line.compress = "gzip";
  if (line.compress == "gzip")
    load.coding = BodyCoding::kGzip;
  else if (line.compress == "zstd")
    load.coding = BodyCoding::kZstd;
  else if (line.compress != "none")
    return fail(ErrorCode::kInvalidArgument, "--compress is none, gzip or zstd");
  if (shape->get && (load.coding != BodyCoding::kNone || load.malformed > 0))
    return fail(ErrorCode::kInvalidArgument, "--shape {} has no body to compress or to break",
                load.shape);
  return {};
}

}  // namespace

bool parse_duration_ms(const std::string& text, int64_t* ms) {
  std::string_view rest = text;
  double value = 0;
  if (!take_number(&rest, &value) || value < 0) return false;
  double unit = 0;
  for (const auto& [name, factor] : {std::pair<std::string_view, double>{"", 1e3},
                                     {"ms", 1},
                                     {"s", 1e3},
                                     {"m", 60e3},
                                     {"h", 3600e3}})
    if (rest == name) unit = factor;
  if (unit <= 0 || value * unit > 366 * 86'400e3) return false;
  *ms = std::llround(value * unit);
  return true;
}

bool parse_share(const std::string& text, double* share) {
  std::string_view rest = text;
  double value = 0;
  if (!take_number(&rest, &value)) return false;
  if (take(&rest, '%')) value /= 100;
  if (!rest.empty() || value < 0 || value > 1) return false;
  *share = value;
  return true;
}

bool parse_mix(const std::vector<std::string>& texts, const std::string& default_bytes,
               std::vector<MixEntry>* mix) {
  mix->clear();
  std::vector<unsigned> default_sizes;
  if (!parse_sizes(default_bytes, &default_sizes)) return false;
  for (const std::string& text : texts) {
    std::string_view rest = text;
    double batch = 0;
    double weight = 1;
    std::vector<unsigned> sizes;
    if (!take_number(&rest, &batch)) return false;
    if (take(&rest, 'x')) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (!parse_sizes(rest.substr(0, end), &sizes)) return false;
      rest.remove_prefix(end);
    }
    if (take(&rest, ':') && !take_number(&rest, &weight)) return false;
    if (!rest.empty() || batch < 1 || batch > kMaxBatch || batch != std::floor(batch) ||
        weight <= 0)
      return false;
    if (sizes.empty()) sizes = default_sizes;
    for (const unsigned size : sizes)
      mix->push_back(
          {weight / static_cast<double>(sizes.size()), static_cast<unsigned>(batch), size});
  }
  return !mix->empty();
}

std::string shapes_text() {
  std::string text;
  for (const RequestShape& shape : request_shapes())
    text += fmt::format("  {:<16} {} ({}{})\n", shape.name, shape.what, shape.path,
                        shape.batches ? "" : ", one event a request");
  return text;
}

void declare(CLI::App& app, CommandLine& line) {
  app.add_option("url", line.url,
                 "Where to send: http(s)://host:port[/path]; without a path the shape's own");
  declare_load(app, line);
  declare_events(app, line);
  declare_results(app, line);
}

Status complete(CommandLine& line, bool terminal) {
  WEIR_RETURN_IF_ERROR(complete_load(line));
  WEIR_RETURN_IF_ERROR(complete_events(line));
  line.verify.insecure = line.load.insecure;
  line.load.remember_acknowledged = !line.verify.admin_url.empty();
  while (line.verify.admin_url.ends_with('/')) line.verify.admin_url.pop_back();
  if (line.load.remember_acknowledged && !find_shape(line.load.shape)->verifiable)
    return fail(ErrorCode::kInvalidArgument, "--verify needs events with ids; --shape {} has none",
                line.load.shape);
  for (const std::string& text : line.fail_if) {
    WEIR_ASSIGN_OR_RETURN(FailRule rule, parse_fail_rule(text));
    line.rules.push_back(rule);
  }
  if (line.no_live)
    line.settings.live = RunSettings::Live::kNone;
  else if (terminal)
    line.settings.live = RunSettings::Live::kTerminal;
  else if (line.live)
    line.settings.live = RunSettings::Live::kLines;
  return {};
}

}  // namespace weir::bench
