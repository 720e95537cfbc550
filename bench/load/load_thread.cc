#include "bench/load/load_thread.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "storage/base/clock.h"

namespace weir::bench {
namespace {

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

}  // namespace

void Tally::add(const Tally& other) {
  requests += other.requests;
  events += other.events;
  duplicates += other.duplicates;
  bytes_sent += other.bytes_sent;
  wrong_answers += other.wrong_answers;
  for (size_t i = 0; i < status_class.size(); ++i) status_class[i] += other.status_class[i];
  status_503 += other.status_503;
  disconnects += other.disconnects;
  connect_errors += other.connect_errors;
  latency.add(other.latency);
}

LoadThread::LoadThread(const LoadOptions& options, unsigned thread, unsigned connections,
                       int64_t start_ns)
    : options_(options),
      source_(options_, thread),
      connections_(connections),
      start_ns_(start_ns),
      measure_ns_(start_ns + options.warmup_ms * 1'000'000),
      end_ns_(measure_ns_ + options.duration_ms * 1'000'000),
      thread_rate_(options.rate / options.threads) {
  seconds_.resize(static_cast<size_t>((options.duration_ms + 999) / 1000));
}

Status LoadThread::run(const std::atomic<bool>* stop) {
  WEIR_ASSIGN_OR_RETURN(
      transport_, make_transport(options_, static_cast<unsigned>(connections_.size()), *this));
  transport_name_ = transport_->name();
  now_ns_ = Clock::system().monotonic_ns();
  for (unsigned i = 0; i < connections_.size(); ++i) transport_->connect(i);
  const uint64_t most = options_.max_requests == 0
                            ? UINT64_MAX
                            : (options_.max_requests + options_.threads - 1) / options_.threads;
  for (;;) {
    transport_->poll(next_deadline(now_ns_));
    now_ns_ = Clock::system().monotonic_ns();
    finishing_ =
        now_ns_ >= end_ns_ || stop->load(std::memory_order_relaxed) || requests_made_ >= most;
    if (finishing_ && (in_flight_ == 0 || now_ns_ >= end_ns_ + kFinishNs)) return {};
    if (!reconnecting_.empty() && !finishing_) {
      std::vector<unsigned> due;
      std::erase_if(reconnecting_, [&](unsigned index) {
        if (connections_[index].reconnect_ns > now_ns_) return false;
        due.push_back(index);
        return true;
      });
      for (const unsigned index : due) transport_->connect(index);
    }
    if (thread_rate_ > 0 && !finishing_) send_due(now_ns_);
  }
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

void LoadThread::send_due(int64_t now_ns) {
  const auto due = static_cast<uint64_t>(due_at(now_ns));
  const double ramp = static_cast<double>(options_.ramp_ms) * 1e-3;
  while (sent_due_ < due && !idle_.empty()) {
    const unsigned index = idle_.back();
    Connection& connection = connections_[index];
    idle_.pop_back();
    connection.idle_listed = false;
    if (!connection.connected || connection.sending) continue;
    // The inverse of due_at(): when request number sent_due_ was due.
    const auto number = static_cast<double>(sent_due_);
    const double seconds = number < thread_rate_ * ramp / 2
                               ? std::sqrt(2 * ramp * number / thread_rate_)
                               : number / thread_rate_ + ramp / 2;
    connection.out.clear();
    add_request(connection, start_ns_ + static_cast<int64_t>(seconds * 1e9));
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
  if (connection.in_flight.size() >= options_.pipeline) return;
  connection.out.clear();
  const int64_t now_ns = Clock::system().monotonic_ns();
  while (connection.in_flight.size() < options_.pipeline) add_request(connection, now_ns);
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
  tally_at(now_ns_).bytes_sent += connection.out.size();
  fill(index);
}

void LoadThread::on_data(unsigned index, std::string_view bytes) {
  Connection& connection = connections_[index];
  now_ns_ = Clock::system().monotonic_ns();
  const bool sound = connection.parser.feed(bytes, [&](const Answer& answer) {
    if (answer.status != 100) on_answer(connection, answer);
  });
  if (!sound) ++tally_at(now_ns_).wrong_answers;
  fill(index);
}

void LoadThread::on_disconnected(unsigned index, int) {
  Connection& connection = connections_[index];
  Tally& tally = tally_at(now_ns_);
  if (!connection.connected) ++tally.connect_errors;
  if (!connection.in_flight.empty()) ++tally.disconnects;
  in_flight_ -= connection.in_flight.size();
  connection.in_flight.clear();
  connection.parser.reset();
  connection.connected = connection.sending = false;
  connection.reconnect_ns = now_ns_ + kReconnectDelayNs;
  reconnecting_.push_back(index);
}

Tally& LoadThread::tally_at(int64_t now_ns) {
  if (now_ns < measure_ns_) return warmup_;
  const auto second = static_cast<size_t>((now_ns - measure_ns_) / 1'000'000'000);
  return seconds_[std::min(second, seconds_.size() - 1)];
}

bool LoadThread::answer_is_right(const MadeRequest& made, const Answer& answer) const {
  if (made.malformed) return answer.status >= 400 && answer.status < 500;
  if (answer.status < 200 || answer.status >= 300)
    return answer.status == 503 || answer.status == 429;
  const int64_t accepted = number_after(answer.body, "\"accepted\":");
  if (accepted < 0) return true;  // another server's answer, or a vendor's path
  const int64_t duplicates = number_after(answer.body, "\"duplicates\":");
  return accepted + std::max<int64_t>(duplicates, 0) == static_cast<int64_t>(made.events);
}

void LoadThread::on_answer(Connection& connection, const Answer& answer) {
  Tally& tally = tally_at(now_ns_);
  if (connection.in_flight.empty()) {
    ++tally.wrong_answers;
    return;
  }
  const InFlight request = connection.in_flight.front();
  connection.in_flight.pop_front();
  --in_flight_;
  live_requests_.store(live_requests_.load(std::memory_order_relaxed) + 1,
                       std::memory_order_relaxed);
  ++tally.requests;
  ++tally.status_class[static_cast<size_t>(std::clamp(answer.status / 100, 0, 5))];
  if (answer.status == 503) ++tally.status_503;
  if (!answer_is_right(request.made, answer)) {
    ++tally.wrong_answers;
    if (first_wrong_answer_.empty())
      first_wrong_answer_ = fmt::format("{} {}", answer.status, answer.body.substr(0, 300));
  }
  tally.latency.record(static_cast<uint64_t>(std::max<int64_t>(0, now_ns_ - request.start_ns)));
  if (answer.status < 200 || answer.status >= 300 || request.made.malformed) return;
  tally.events += request.made.events;
  tally.duplicates += request.made.duplicates;
  acknowledged_.push_back({request.first_id, request.made.events - request.made.duplicates});
}

}  // namespace weir::bench
