#include "bench/load/run.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <charconv>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "bench/load/load_thread.h"
#include "bench/load/process_usage.h"
#include "bench/load/progress.h"
#include "bench/load/target_metrics.h"
#include "storage/base/clock.h"

namespace weir::bench {
namespace {

void pin_this_thread(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(cpu), &cpus);
  pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
}

// "native: 1 x 200-16000 B (weight 90), 100 x 400 B (weight 10)"
std::string load_text(const LoadOptions& options) {
  std::string text = options.shape + ":";
  const std::vector<MixEntry>& mix = options.mix;
  for (size_t i = 0; i < mix.size();) {
    // Entries of the same batch size that follow one another are one range of sizes.
    size_t end = i;
    double weight = 0;
    for (; end < mix.size() && mix[end].batch == mix[i].batch; ++end) weight += mix[end].weight;
    text += fmt::format("{} {} x {}", i == 0 ? "" : ",", mix[i].batch, mix[i].event_bytes);
    if (end - i > 1) text += fmt::format("-{}", mix[end - 1].event_bytes);
    text += " B";
    if (end - i < mix.size()) text += fmt::format(" (weight {:g})", weight);
    i = end;
  }
  if (options.coding == BodyCoding::kGzip) text += ", gzip";
  if (options.coding == BodyCoding::kZstd) text += ", zstd";
  if (options.pipeline > 1) text += fmt::format(", {} in flight", options.pipeline);
  if (options.duplicates > 0) text += fmt::format(", {:g} % duplicates", options.duplicates * 100);
  if (options.malformed > 0) text += fmt::format(", {:g} % malformed", options.malformed * 100);
  if (options.keys.size() > 1) text += fmt::format(", {} keys", options.keys.size());
  return text;
}

struct Sample {
  int64_t at_ns = 0;
  ProcessUsage server;
  KernelReading kernel;
  double own_seconds = 0;
};

// Reads who used how much CPU: from /proc for a local target, else from its metrics.
class Sampler {
 public:
  Sampler(const LoadOptions& options, const RunSettings& settings)
      : pids_(settings.server_pids), metrics_url_(settings.metrics_url) {
    unsigned port = 0;
    const std::string& text = options.url.port;
    std::from_chars(text.data(), text.data() + text.size(), port);
    if (pids_.empty() && is_loopback(options.url.host)) pids_ = listeners_of_port(port);
  }

  Sample take() const {
    Sample sample;
    sample.at_ns = Clock::system().monotonic_ns();
    sample.own_seconds = own_cpu_seconds();
    if (!pids_.empty()) {
      sample.server = read_usage(pids_);
      sample.kernel = read_kernel();
    } else if (!metrics_url_.empty()) {
      sample.server = usage_from(read_target_metrics(metrics_url_));
    }
    return sample;
  }
  bool local() const { return !pids_.empty(); }
  std::string source() const { return local() ? "/proc" : metrics_url_.empty() ? "" : "metrics"; }

 private:
  std::vector<pid_t> pids_;
  std::string metrics_url_;
};

// Fills the interval's machine side with what happened between two samples.
void put_usage(const Sample& before, const Sample& after, Interval* interval) {
  interval->seconds = static_cast<double>(after.at_ns - before.at_ns) * 1e-9;
  if (before.server.known && after.server.known)
    interval->server_seconds = after.server.cpu_seconds() - before.server.cpu_seconds();
  interval->load_seconds = after.own_seconds - before.own_seconds;
  const KernelUsage kernel = kernel_usage(before.kernel, after.kernel);
  interval->kernel_seconds = kernel.thread_seconds;
  interval->written_bytes = kernel.written_bytes;
  interval->rss_anon_bytes = after.server.rss_anon_bytes;
}

class Run {
 public:
  Run(const LoadOptions& options, const RunSettings& settings, const std::atomic<bool>* stop)
      : options_(options), settings_(settings), stop_(stop), sampler_(options, settings) {
    if (settings.live != RunSettings::Live::kNone)
      progress_.emplace(settings.live == RunSettings::Live::kTerminal);
  }

  Result<RunOutcome> go() {
    RunResult& result = outcome_.result;
    result.url = fmt::format("{}://{}:{}{}", options_.url.tls ? "https" : "http", options_.url.host,
                             options_.url.port, path());
    result.connections = options_.connections;
    result.threads = options_.threads;
    result.rate = options_.rate;
    result.load = load_text(options_);
    result.interval_seconds = static_cast<double>(options_.interval_ms()) * 1e-3;
    start_threads();
    result.started_at = format_rfc3339_ms(Clock::system().wall_ms() + options_.warmup_ms + 20);
    watch(start_ns_, measure_ns_, nullptr);
    const TargetMetrics metrics_before = read_target_metrics(settings_.metrics_url);
    const Sample before = sampler_.take();
    std::vector<Interval> watched;
    Sample after = watch(measure_ns_, end_ns_, &watched);
    progress_.reset();
    for (std::thread& runner : runners_) runner.join();
    for (const Status& status : statuses_) WEIR_RETURN_IF_ERROR(status);
    result.seconds = static_cast<double>(after.at_ns - before.at_ns) * 1e-9;
    result.server_metrics = difference(metrics_before, read_target_metrics(settings_.metrics_url));
    take_usage(before, after);
    take_threads(std::move(watched));
    return std::move(outcome_);
  }

 private:
  std::string path() const {
    return options_.url.has_path ? options_.url.path
                                 : std::string(find_shape(options_.shape)->path);
  }

  void start_threads() {
    statuses_.resize(options_.threads);
    for (unsigned i = 0; i < options_.threads; ++i) {
      const unsigned share = options_.connections / options_.threads +
                             (i < options_.connections % options_.threads ? 1 : 0);
      threads_.push_back(std::make_unique<LoadThread>(options_, i, share));
    }
    // Making the requests' templates took its time; the clock starts after it.
    start_ns_ = Clock::system().monotonic_ns() + 20'000'000;
    measure_ns_ = start_ns_ + options_.warmup_ms * 1'000'000;
    end_ns_ = measure_ns_ + options_.duration_ms * 1'000'000;
    for (const auto& thread : threads_) thread->schedule(start_ns_);
    for (unsigned i = 0; i < options_.threads; ++i)
      runners_.emplace_back([this, i] {
        if (!options_.cpus.empty()) pin_this_thread(options_.cpus[i % options_.cpus.size()]);
        statuses_[i] = threads_[i]->run(stop_);
        running_.fetch_sub(1);
      });
  }

  // Until the end of the stretch: a sample per interval, a line of progress per second.
  Sample watch(int64_t from_ns, int64_t to_ns, std::vector<Interval>* intervals) {
    const int64_t interval_ns = options_.interval_ms() * 1'000'000;
    Sample last = sampler_.take();
    int64_t interval_end_ns = from_ns + interval_ns;
    for (int64_t next_ns = from_ns; !stop_->load() && next_ns < to_ns && running_.load() > 0;) {
      next_ns = std::min(next_ns + 1'000'000'000, to_ns);
      sleep_until(next_ns);
      if (progress_) show(intervals == nullptr);
      const bool over = next_ns >= to_ns || stop_->load() || running_.load() == 0;
      if (intervals == nullptr || (next_ns < interval_end_ns && !over)) continue;
      interval_end_ns += interval_ns;
      const Sample now = sampler_.take();
      put_usage(last, now, &intervals->emplace_back());
      last = now;
    }
    return last;
  }

  // Earlier when the run is over.
  void sleep_until(int64_t monotonic_ns) const {
    while (!stop_->load() && running_.load() > 0) {
      const int64_t left = monotonic_ns - Clock::system().monotonic_ns();
      if (left <= 0) return;
      std::this_thread::sleep_for(std::chrono::nanoseconds(std::min<int64_t>(left, 20'000'000)));
    }
  }

  void show(bool warming_up) {
    const Sample now = sampler_.local() ? sampler_.take() : Sample{};
    Moment moment;
    const int64_t now_ns = Clock::system().monotonic_ns();
    moment.passed_seconds = static_cast<double>(now_ns - start_ns_) * 1e-9;
    moment.total_seconds = static_cast<double>(end_ns_ - start_ns_) * 1e-9;
    moment.warming_up = warming_up;
    for (const auto& thread : threads_) moment.second.add(thread->live().tally);
    errors_ += moment.second.errors();
    moment.errors_so_far = errors_;
    const double own = own_cpu_seconds();
    const double passed = static_cast<double>(now_ns - shown_ns_) * 1e-9;
    if (shown_ns_ > 0) moment.load_cores = (own - shown_own_) / passed;
    if (shown_ns_ > 0 && now.server.known)
      moment.server_cores = (now.server.cpu_seconds() - shown_server_) / passed;
    shown_ns_ = now_ns;
    shown_own_ = own;
    shown_server_ = now.server.cpu_seconds();
    progress_->show(moment);
  }

  void take_usage(const Sample& before, const Sample& after) {
    RunResult& result = outcome_.result;
    result.server = after.server;
    result.server.known = before.server.known && after.server.known;
    result.server.user_seconds -= before.server.user_seconds;
    result.server.system_seconds -= before.server.system_seconds;
    if (result.server.known) result.server_source = sampler_.source();
    result.kernel_known = sampler_.local();
    result.kernel = kernel_usage(before.kernel, after.kernel);
  }

  void take_threads(std::vector<Interval> watched) {
    RunResult& result = outcome_.result;
    result.intervals = std::move(watched);
    for (const auto& thread : threads_) {
      result.transport = thread->transport_name();
      const std::vector<Tally>& intervals = thread->intervals();
      if (result.intervals.size() < intervals.size()) result.intervals.resize(intervals.size());
      for (size_t i = 0; i < intervals.size(); ++i) {
        result.intervals[i].tally.add(intervals[i]);
        result.total.add(intervals[i]);
      }
      result.load_seconds += thread->cpu_seconds();
      if (result.seconds > 0)
        result.busiest_thread =
            std::max(result.busiest_thread, thread->cpu_seconds() / result.seconds);
      if (result.first_wrong_answer.empty())
        result.first_wrong_answer = thread->first_wrong_answer();
      if (options_.remember_acknowledged) outcome_.acknowledged.push_back(thread->acknowledged());
    }
    // A run that was stopped early has no figures for what it did not see.
    while (!result.intervals.empty() && result.intervals.back().tally.requests == 0 &&
           result.intervals.back().seconds <= 0)
      result.intervals.pop_back();
  }

  const LoadOptions& options_;
  const RunSettings& settings_;
  const std::atomic<bool>* stop_;
  Sampler sampler_;
  int64_t start_ns_ = 0;
  int64_t measure_ns_ = 0;
  int64_t end_ns_ = 0;
  std::vector<std::unique_ptr<LoadThread>> threads_;
  std::vector<Status> statuses_;
  std::vector<std::thread> runners_;
  std::atomic<unsigned> running_{options_.threads};
  std::optional<Progress> progress_;
  int64_t shown_ns_ = 0;
  double shown_own_ = 0;
  double shown_server_ = 0;
  uint64_t errors_ = 0;
  RunOutcome outcome_;
};

}  // namespace

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

Result<RunOutcome> run_load(const LoadOptions& options, const RunSettings& settings,
                            const std::atomic<bool>* stop) {
  return Run(options, settings, stop).go();
}

}  // namespace weir::bench
