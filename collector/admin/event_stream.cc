#include "collector/admin/event_stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/base/check.h"

namespace weir::admin {
namespace {

// "id: 7\nevent: counters\ndata: {…}\n\n". A line break in the data begins a new data line, so that
// no text can begin a field or a frame of its own.
std::string render(uint64_t id, const EventStream::Frame& frame) {
  std::string out = fmt::format("id: {}\nevent: {}\n", id, frame.event);
  std::string_view rest = frame.data;
  for (bool more = true; more;) {
    const size_t end = rest.find_first_of("\r\n");
    out.append("data: ").append(rest.substr(0, end)).push_back('\n');
    more = end != std::string_view::npos;
    if (more) rest.remove_prefix(end + (rest.substr(end, 2) == "\r\n" ? 2 : 1));
  }
  out.push_back('\n');
  return out;
}

}  // namespace

EventStream::EventStream(std::string topic, const Limits& limits, reactor::Loop& loop,
                         MetricRegistry& metrics)
    : limits_(limits),
      loop_(loop),
      sent_(metrics.counter(Metric::kStreamFrames, {topic, "sent"})),
      skipped_(metrics.counter(Metric::kStreamFrames, {topic, "skipped"})),
      refused_(metrics.counter(Metric::kHttpLimits, {"admin_streams"})),
      listening_(metrics.gauge(Metric::kStreamSubscribers, {topic})) {}

EventStream::~EventStream() {
  WEIR_CHECK(subscribers_.empty(), "a stream of events was destroyed while somebody listened");
}

bool EventStream::subscribe(http::Exchange& exchange, std::unique_ptr<Interest> interest,
                            const Frame* first) {
  if (closed_) return false;
  if (subscribers_.size() >= limits_.subscribers) {
    refused_.add();
    return false;
  }
  http::Response head;
  head.content_type = "text/event-stream";
  // nginx would otherwise collect the frames before it passes them on.
  head.extra_headers = "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n";
  exchange.begin_stream(head);
  Subscriber& subscriber = subscribers_.emplace_back();
  subscriber.exchange = &exchange;
  subscriber.interest = std::move(interest);
  std::string opening = fmt::format("retry: {}\n\n", limits_.retry_ms);
  if (first != nullptr) opening += render(next_id_++, *first);
  offer(subscriber, opening);
  remove_ended();
  if (!idle() && !heartbeat_.armed()) loop_.arm(heartbeat_, limits_.heartbeat_ms * 1'000'000);
  return true;
}

void EventStream::publish(const Frame& frame) {
  publish(frame, [](const Interest*) { return true; });
}

void EventStream::publish(const Frame& frame, Wants wants) {
  if (idle()) return;
  const std::string text = render(next_id_++, frame);
  for (Subscriber& subscriber : subscribers_)
    if (wants(subscriber.interest.get())) offer(subscriber, text);
  remove_ended();
}

bool EventStream::offer(Subscriber& subscriber, std::string_view frame) {
  const size_t waiting = subscriber.exchange->stream_backlog();
  if (waiting != 0 && waiting + frame.size() > limits_.backlog_bytes) {
    ++subscriber.skipped;
    skipped_.add();
    return true;
  }
  bool there = true;
  if (subscriber.skipped != 0)
    there = subscriber.exchange->write_chunk(
        fmt::format("event: skipped\ndata: {{\"frames\":{}}}\n\n", subscriber.skipped));
  there = there && subscriber.exchange->write_chunk(frame);
  subscriber.skipped = 0;
  if (there) {
    sent_.add();
  } else {
    subscriber.exchange->finish_stream();
    subscriber.exchange = nullptr;
  }
  return there;
}

void EventStream::beat() {
  for (Subscriber& subscriber : subscribers_) {
    const bool there = subscriber.exchange->stream_backlog() != 0
                           ? !subscriber.exchange->client_gone()
                           : subscriber.exchange->write_chunk(":\n\n");
    if (there) continue;
    subscriber.exchange->finish_stream();
    subscriber.exchange = nullptr;
  }
  remove_ended();
  if (!idle()) loop_.arm(heartbeat_, limits_.heartbeat_ms * 1'000'000);
}

void EventStream::remove_ended() {
  std::erase_if(subscribers_, [](const Subscriber& one) { return one.exchange == nullptr; });
  listening_.set(static_cast<int64_t>(subscribers_.size()));
}

void EventStream::restart() {
  for (const Subscriber& subscriber : subscribers_) subscriber.exchange->finish_stream();
  subscribers_.clear();
  remove_ended();
}

void EventStream::close() {
  closed_ = true;
  restart();
  loop_.cancel(heartbeat_);
}

}  // namespace weir::admin
