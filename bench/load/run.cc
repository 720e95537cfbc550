#include "bench/load/run.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "bench/load/process_usage.h"
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

void sleep_until(int64_t monotonic_ns, const std::atomic<bool>* stop) {
  for (;;) {
    const int64_t left = monotonic_ns - Clock::system().monotonic_ns();
    if (left <= 0 || stop->load()) return;
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min<int64_t>(left, 50'000'000)));
  }
}

bool is_local(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

std::string mix_text(const LoadOptions& options) {
  std::string text;
  for (const MixEntry& entry : options.mix)
    text += fmt::format("{}{}x{:g}", text.empty() ? "" : " ", entry.batch, entry.weight);
  return fmt::format("{} of {} B", text, options.event_bytes);
}

// Prints one line per second until the end of the measurement.
void show_progress(const std::vector<std::unique_ptr<LoadThread>>& threads, int64_t end_ns,
                   const std::atomic<bool>* stop) {
  uint64_t before = 0;
  int64_t next_ns = Clock::system().monotonic_ns();
  while (!stop->load() && next_ns < end_ns) {
    next_ns += 1'000'000'000;
    sleep_until(std::min(next_ns, end_ns), stop);
    uint64_t requests = 0;
    for (const auto& thread : threads)
      requests += thread->live_requests().load(std::memory_order_relaxed);
    std::fprintf(stderr, "\r%8.1f s left  %10llu requests/s  %12llu in all ",
                 static_cast<double>(end_ns - Clock::system().monotonic_ns()) * 1e-9,
                 static_cast<unsigned long long>(requests - before),
                 static_cast<unsigned long long>(requests));
    std::fflush(stderr);
    before = requests;
  }
  std::fprintf(stderr, "\n");
}

}  // namespace

Result<RunResult> run_load(const LoadOptions& options, const RunSettings& settings,
                           const std::atomic<bool>* stop) {
  RunResult result;
  result.url = fmt::format("{}://{}:{}{}", options.url.tls ? "https" : "http", options.url.host,
                           options.url.port, options.url.path);
  result.started_at = format_rfc3339_ms(Clock::system().wall_ms());
  result.connections = options.connections;
  result.rate = options.rate;
  result.mix = mix_text(options);
  std::vector<pid_t> pids = settings.server_pids;
  if (pids.empty() && is_local(options.url.host))
    pids = listeners_of_port(static_cast<unsigned>(std::stoul(options.url.port)));

  const int64_t start_ns = Clock::system().monotonic_ns() + 20'000'000;
  const int64_t measure_ns = start_ns + options.warmup_ms * 1'000'000;
  const int64_t end_ns = measure_ns + options.duration_ms * 1'000'000;
  std::vector<std::unique_ptr<LoadThread>> threads;
  std::vector<Status> outcomes(options.threads);
  std::vector<std::thread> runners;
  for (unsigned i = 0; i < options.threads; ++i) {
    const unsigned share =
        options.connections / options.threads + (i < options.connections % options.threads ? 1 : 0);
    threads.push_back(std::make_unique<LoadThread>(options, i, share, start_ns));
  }
  for (unsigned i = 0; i < options.threads; ++i)
    runners.emplace_back([&, i] {
      if (!options.cpus.empty()) pin_this_thread(options.cpus[i % options.cpus.size()]);
      outcomes[i] = threads[i]->run(stop);
    });
  sleep_until(measure_ns, stop);
  const ProcessUsage before = read_usage(pids);
  const TargetMetrics metrics_before = read_target_metrics(settings.metrics_url);
  const int64_t measured_from_ns = Clock::system().monotonic_ns();
  if (settings.live)
    show_progress(threads, end_ns, stop);
  else
    sleep_until(end_ns, stop);
  const ProcessUsage after = read_usage(pids);
  result.seconds = static_cast<double>(Clock::system().monotonic_ns() - measured_from_ns) * 1e-9;
  for (std::thread& runner : runners) runner.join();
  for (const Status& outcome : outcomes) WEIR_RETURN_IF_ERROR(outcome);
  result.server_metrics = difference(metrics_before, read_target_metrics(settings.metrics_url));

  result.server = after;
  result.server.known = before.known && after.known;
  result.server.user_seconds -= before.user_seconds;
  result.server.system_seconds -= before.system_seconds;
  for (const auto& thread : threads) {
    result.transport = thread->transport_name();
    const std::vector<Tally>& seconds = thread->seconds();
    if (result.per_second.size() < seconds.size()) result.per_second.resize(seconds.size());
    for (size_t i = 0; i < seconds.size(); ++i) {
      result.per_second[i].add(seconds[i]);
      result.total.add(seconds[i]);
    }
    if (result.first_wrong_answer.empty()) result.first_wrong_answer = thread->first_wrong_answer();
  }
  return result;
}

}  // namespace weir::bench
