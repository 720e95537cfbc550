#include "bench/load/load_thread.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "storage/base/clock.h"

namespace weir::bench {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kReconnectDelayNs = 20'000'000;
constexpr int64_t kFinishNs = 2'000'000'000;  // how long answers may still arrive after the end

// The number after "name": in a flat JSON answer, -1 when it is not there.
int64_t number_after(std::string_view body, std::string_view name) {
  const size_t at = body.find(name);
  if (at == std::string_view::npos) return -1;
  int64_t value = -1;
  std::from_chars(body.data() + at + name.size(), body.data() + body.size(), value);
  return value;
}

double thread_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

}  // namespace

LoadThread::LoadThread(const LoadOptions& options, unsigned thread, unsigned connections)
    : options_(options),
      source_(options_, thread),
      connections_(connections),
      thread_rate_(options.rate / options.threads) {
  if (options.max_requests > 0)  // each thread its share, the first ones the rest
    most_requests_ = options.max_requests / options.threads +
                     (thread < options.max_requests % options.threads ? 1 : 0);
  const int64_t interval_ms = options.interval_ms();
  intervals_.resize(static_cast<size_t>((options.duration_ms + interval_ms - 1) / interval_ms));
}

void LoadThread::schedule(int64_t start_ns) {
  start_ns_ = start_ns;
  measure_ns_ = start_ns + options_.warmup_ms * 1'000'000;
  end_ns_ = measure_ns_ + options_.duration_ms * 1'000'000;
  second_end_ns_ = std::min(start_ns + kSecondNs, measure_ns_);
  // Closed loop with a ramp: connections open one after the other.
  const auto count = static_cast<unsigned>(connections_.size());
  const double step_ns =
      options_.rate > 0 || count == 0 ? 0 : static_cast<double>(options_.ramp_ms) * 1e6 / count;
  for (unsigned i = 0; i < count; ++i) {
    connections_[i].reconnect_ns = start_ns_ + static_cast<int64_t>(step_ns * i);
    waiting_to_connect_.push_back(i);
  }
}

Status LoadThread::run(const std::atomic<bool>* stop) {
  WEIR_ASSIGN_OR_RETURN(
      transport_, make_transport(options_, static_cast<unsigned>(connections_.size()), *this));
  transport_name_ = transport_->name();
  for (;;) {
    now_ns_ = Clock::system().monotonic_ns();
    if (now_ns_ >= second_end_ns_) close_second();
    finishing_ = now_ns_ >= end_ns_ || stop->load(std::memory_order_relaxed) ||
                 requests_made_ >= most_requests_;
    if (finishing_ && (in_flight_ == 0 || now_ns_ >= end_ns_ + kFinishNs)) {
      close_second();
      if (cpu_before_ >= 0) cpu_seconds_ = thread_cpu_seconds() - cpu_before_;
      return {};
    }
    if (!finishing_) {
      if (!waiting_to_connect_.empty()) connect_due();
      if (thread_rate_ > 0) send_due(now_ns_);
    }
    transport_->poll(next_deadline(now_ns_));
  }
}

void LoadThread::connect_due() {
  std::vector<unsigned> due;
  std::erase_if(waiting_to_connect_, [&](unsigned index) {
    if (connections_[index].reconnect_ns > now_ns_) return false;
    due.push_back(index);
    return true;
  });
  for (const unsigned index : due) transport_->connect(index);
}

// Adds the second that ends to its interval and shows it to whoever watches.
void LoadThread::close_second() {
  const int64_t began_ns = second_end_ns_ - 1;
  if (began_ns >= measure_ns_) {
    const int64_t interval_ns = options_.interval_ms() * 1'000'000;
    const auto interval = static_cast<size_t>((began_ns - measure_ns_) / interval_ns);
    intervals_[std::min(interval, intervals_.size() - 1)].add(second_);
  }
  {
    const std::lock_guard<std::mutex> lock(live_lock_);
    std::swap(live_.tally, second_);
    ++live_.number;
  }
  second_ = Tally{};
  if (now_ns_ >= measure_ns_ && cpu_before_ < 0) cpu_before_ = thread_cpu_seconds();
  while (second_end_ns_ <= now_ns_) {
    const int64_t next_ns = second_end_ns_ + kSecondNs;
    // The measurement begins with a second of its own.
    second_end_ns_ = second_end_ns_ < measure_ns_ ? std::min(next_ns, measure_ns_) : next_ns;
  }
}

LiveSecond LoadThread::live() {
  const std::lock_guard<std::mutex> lock(live_lock_);
  return live_;
}

int64_t LoadThread::next_deadline(int64_t now_ns) const {
  if (thread_rate_ <= 0 || finishing_) return now_ns + 20'000'000;
  // Requests that are due but wait for a free connection are sent when one is free.
  if (due_at(now_ns) > static_cast<double>(sent_due_))
    return idle_.empty() ? now_ns + 5'000'000 : now_ns;
  return now_ns + std::min<int64_t>(static_cast<int64_t>(1e9 / thread_rate_), 1'000'000);
}

// How many requests were due by now: rate x time, with a linear ramp from the start.
double LoadThread::due_at(int64_t now_ns) const {
  const double seconds = static_cast<double>(now_ns - start_ns_) * 1e-9;
  if (seconds <= 0) return 0;
  const double ramp = static_cast<double>(options_.ramp_ms) * 1e-3;
  if (seconds < ramp) return thread_rate_ * seconds * seconds / (2 * ramp);
  return thread_rate_ * (seconds - ramp / 2);
}

// The inverse of due_at(): when a request was due.
int64_t LoadThread::due_time_ns(double number) const {
  const double ramp = static_cast<double>(options_.ramp_ms) * 1e-3;
  const double seconds = number < thread_rate_ * ramp / 2
                             ? std::sqrt(2 * ramp * number / thread_rate_)
                             : number / thread_rate_ + ramp / 2;
  return start_ns_ + static_cast<int64_t>(seconds * 1e9);
}

void LoadThread::send_due(int64_t now_ns) {
  const auto due = static_cast<uint64_t>(due_at(now_ns));
  while (sent_due_ < due && !idle_.empty() && requests_made_ < most_requests_) {
    const unsigned index = idle_.back();
    Connection& connection = connections_[index];
    idle_.pop_back();
    connection.idle_listed = false;
    if (!connection.connected || connection.sending) continue;
    connection.out.clear();
    add_request(connection, due_time_ns(static_cast<double>(sent_due_)));
    ++sent_due_;
    connection.sending = true;
    transport_->send(index, connection.out);
  }
}

void LoadThread::add_request(Connection& connection, int64_t start_ns) {
  const uint64_t first_id = source_.ids_used();
  const MadeRequest made = source_.next(&scratch_);
  connection.out.append(scratch_);
  connection.in_flight.push_back({start_ns, first_id, made});
  ++in_flight_;
  ++requests_made_;
}

void LoadThread::fill(unsigned index) {
  Connection& connection = connections_[index];
  if (!connection.connected || connection.sending || finishing_) return;
  if (thread_rate_ > 0) {
    if (connection.in_flight.size() < options_.pipeline && !connection.idle_listed) {
      idle_.push_back(index);
      connection.idle_listed = true;
    }
    return;
  }
  if (connection.in_flight.size() >= options_.pipeline || requests_made_ >= most_requests_) return;
  connection.out.clear();
  const int64_t now_ns = Clock::system().monotonic_ns();
  while (connection.in_flight.size() < options_.pipeline && requests_made_ < most_requests_)
    add_request(connection, now_ns);
  connection.sending = true;
  transport_->send(index, connection.out);
}

void LoadThread::on_connected(unsigned index) {
  connections_[index].connected = true;
  fill(index);
}

void LoadThread::on_sent(unsigned index) {
  Connection& connection = connections_[index];
  connection.sending = false;
  second_.bytes_sent += connection.out.size();
  fill(index);
}

void LoadThread::on_data(unsigned index, std::string_view bytes) {
  Connection& connection = connections_[index];
  now_ns_ = Clock::system().monotonic_ns();
  if (now_ns_ >= second_end_ns_) close_second();
  const bool sound = connection.parser.feed(bytes, [&](const Answer& answer) {
    if (answer.status != 100) on_answer(connection, answer);
  });
  if (!sound) ++second_.wrong_answers;
  fill(index);
}

void LoadThread::on_disconnected(unsigned index, int) {
  Connection& connection = connections_[index];
  if (!connection.connected) ++second_.connect_errors;
  if (!connection.in_flight.empty()) ++second_.disconnects;
  in_flight_ -= connection.in_flight.size();
  connection.in_flight.clear();
  connection.parser.reset();
  connection.connected = connection.sending = false;
  connection.reconnect_ns = now_ns_ + kReconnectDelayNs;
  waiting_to_connect_.push_back(index);
}

bool LoadThread::answer_is_right(const MadeRequest& made, const Answer& answer) const {
  const bool success = answer.status >= 200 && answer.status < 300;
  if (!source_.shape().checked)  // another vendor's protocol: its answers are its own
    return made.malformed ? answer.status < 500
                          : success || answer.status == 503 || answer.status == 429;
  if (made.malformed) return answer.status >= 400 && answer.status < 500;
  if (!success) return answer.status == 503 || answer.status == 429;
  const int64_t accepted = number_after(answer.body, "\"accepted\":");
  if (accepted < 0) return true;  // another server's answer
  const int64_t duplicates = std::max<int64_t>(number_after(answer.body, "\"duplicates\":"), 0);
  if (duplicates > 0 && options_.fresh_ids && options_.duplicates <= 0) return false;
  return accepted + duplicates == static_cast<int64_t>(made.events);
}

// New ids of a request are consecutive; the repeated ones among them were counted before.
void LoadThread::remember(const InFlight& request) {
  const uint64_t end = request.first_id + request.made.events - request.made.duplicates;
  if (acknowledged_.size() < end) acknowledged_.resize(end + end / 2 + 65'536);
  for (uint64_t id = request.first_id; id < end; ++id) acknowledged_[id] = true;
}

void LoadThread::on_answer(Connection& connection, const Answer& answer) {
  if (connection.in_flight.empty()) {
    ++second_.wrong_answers;
    return;
  }
  const InFlight request = connection.in_flight.front();
  connection.in_flight.pop_front();
  --in_flight_;
  ++second_.requests;
  ++second_.status_class[static_cast<size_t>(std::clamp(answer.status / 100, 0, 5))];
  if (answer.status == 503) ++second_.status_503;
  second_.latency.record(static_cast<uint64_t>(std::max<int64_t>(0, now_ns_ - request.start_ns)));
  if (!answer_is_right(request.made, answer)) {
    ++second_.wrong_answers;
    if (first_wrong_answer_.empty())
      first_wrong_answer_ = fmt::format("{} {}", answer.status, answer.body.substr(0, 300));
    return;
  }
  if (answer.status < 200 || answer.status >= 300 || request.made.malformed) return;
  second_.events += request.made.events;
  second_.duplicates += request.made.duplicates;
  if (options_.remember_acknowledged) remember(request);
}

}  // namespace weir::bench
