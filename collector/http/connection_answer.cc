// Answers, sending, closing and time. See connection.h for the invariants.
#include <algorithm>

#include "collector/http/connection.h"
#include "storage/base/check.h"

namespace weir::http {
namespace {

constexpr size_t kSendSlice = 64 << 10;  // so that on_sent() shows progress of a long answer
constexpr int64_t kLingerNs = 5'000'000'000;
constexpr size_t kKeptBufferBytes = 64;  // smaller capacities are the string's own

}  // namespace

void Connection::enqueue(ExchangeImpl& exchange) {
  exchange.connection_queued_ = true;
  exchange.next_ = nullptr;
  (back_ == nullptr ? front_ : back_->next_) = &exchange;
  back_ = &exchange;
  ++queued_;
}

std::string& Connection::output_of(ExchangeImpl& exchange) {
  if (&exchange != front_) return exchange.answer_;
  if (out_.capacity() < kKeptBufferBytes) out_ = server_.take_buffer();
  return out_;
}

AnswerFraming Connection::framing_of(const ExchangeImpl& exchange) const {
  AnswerFraming framing;
  framing.head_only = exchange.request_.method == Method::kHead;
  framing.close = exchange.close_;
  framing.announce_keep_alive = exchange.request_.minor_version == 0;
  if (exchange.facts_.has_origin) framing.cors_origin = exchange.facts_.origin;
  return framing;
}

void Connection::answer(ExchangeImpl& exchange, const Response& response) {
  const bool last = exchange.next_ == nullptr && (reading_ == nullptr || reading_ == &exchange);
  if (response.close || (server_.draining_ && last)) exchange.close_ = true;
  if (exchange.close_) ended_ = true;
  server_.writer_.append(output_of(exchange), response, framing_of(exchange),
                         server_.loop_.wall_ms());
  if (exchange.received_ns_ != 0)
    server_.request_seconds_.record(
        static_cast<uint64_t>(server_.loop_.now_ns() - exchange.received_ns_));
  exchange.state_ = ExchangeImpl::State::kAnswered;
  if (&exchange == front_) advance();
}

void Connection::begin_stream(ExchangeImpl& exchange, const Response& head) {
  AnswerFraming framing = framing_of(exchange);
  exchange.stream_discards_ = framing.head_only;
  exchange.stream_chunked_ = exchange.request_.minor_version >= 1;
  if (!exchange.stream_chunked_) framing.close = exchange.close_ = true;
  if (head.close) framing.close = exchange.close_ = true;
  if (exchange.close_) ended_ = true;
  framing.chunked = exchange.stream_chunked_;
  framing.until_close = !exchange.stream_chunked_;
  server_.writer_.append(output_of(exchange), head, framing, server_.loop_.wall_ms());
  exchange.state_ = ExchangeImpl::State::kStreaming;
  if (&exchange == front_) mark_dirty();
}

size_t Connection::stream_backlog(const ExchangeImpl& exchange) const {
  return &exchange == front_ ? unsent_bytes() : exchange.answer_.size();
}

bool Connection::write_chunk(ExchangeImpl& exchange, std::string_view bytes) {
  if (bytes.empty() || exchange.stream_discards_) return true;
  if (stream_backlog(exchange) + bytes.size() > kMaxStreamBytes) {
    // The reader is slower than the stream. Dropping pieces would corrupt it; ending it is honest.
    server_.count_limit("stream_buffer_bytes");
    stream_.reset_on_close();
    close();
    return false;
  }
  std::string& out = output_of(exchange);
  if (exchange.stream_chunked_)
    append_chunk(out, bytes);
  else
    out += bytes;
  if (&exchange == front_) mark_dirty();
  return true;
}

void Connection::finish_stream(ExchangeImpl& exchange) {
  if (exchange.stream_chunked_ && !exchange.stream_discards_) output_of(exchange) += kLastChunk;
  exchange.state_ = ExchangeImpl::State::kAnswered;
  if (&exchange == front_) advance();
}

void Connection::advance() {
  while (front_ != nullptr) {
    ExchangeImpl& exchange = *front_;
    if (exchange.continue_wanted_) {
      output_of(exchange) += kContinue;
      exchange.continue_wanted_ = false;
    }
    if (!exchange.answer_.empty()) {
      output_of(exchange) += exchange.answer_;
      exchange.answer_.clear();
    }
    if (exchange.state_ != ExchangeImpl::State::kAnswered) break;
    const bool last = exchange.close_;
    if (reading_ == &exchange) reading_ = nullptr;
    front_ = exchange.next_;
    if (front_ == nullptr) back_ = nullptr;
    --queued_;
    server_.give_exchange(&exchange);
    if (last) {
      finishing_ = true;
      if (front_ != nullptr || reading_ != nullptr) linger_ = true;
      detach_exchanges();
    }
  }
  mark_dirty();
  update_resume();
}

void Connection::mark_dirty() {
  if (dirty_ || closed_) return;
  dirty_ = true;
  server_.dirty_.push_back(this);
}

void Connection::update_resume() {
  if (!paused_ || resumed_ || closed_ || blocked()) return;
  resumed_ = true;
  server_.resumed_.push_back(this);
  server_.loop_.defer(server_.work_);
}

void Connection::flush() {
  if (closed_ || stream_.sending() || slice_ != 0) return;
  send_more();
}

void Connection::send_more() {
  if (sent_ == sending_.size()) {
    sending_.clear();
    sent_ = 0;
    if (out_.empty()) return settle();
    std::swap(sending_, out_);
  }
  slice_ = std::min(kSendSlice, sending_.size() - sent_);
  const int64_t stall = server_.options_.limits.send_stall_ms * 1'000'000;
  send_deadline_ns_ = server_.loop_.now_ns() + stall;
  if (!send_timer_armed_) {
    send_timer_armed_ = true;
    server_.loop_.arm(send_timer_, stall);
  }
  stream_.send(std::string_view(sending_).substr(sent_, slice_));
}

void Connection::on_sent() {
  if (closed_) return;
  sent_ += slice_;
  slice_ = 0;
  send_deadline_ns_ = 0;
  if (sent_ < sending_.size())
    send_more();
  else
    mark_dirty();  // the turn's remaining answers join the next send
  update_resume();
}

// Everything rendered has left.
void Connection::settle() {
  const bool no_more_answers = front_ == nullptr;
  if (finishing_ || (no_more_answers && ended_ && reading_ == nullptr)) {
    if (!linger_ || eof_) return close();
    // An error answer must reach a client that is still sending: closing now would answer its bytes
    // with a reset, which discards what it has not read yet. So: FIN, read on for a while, close.
    stream_.shutdown_write();
    phase_ = Phase::kLingering;
    stash_.clear();
    if (paused_) {
      paused_ = false;
      stream_.resume_receiving();
    }
    return wait_for(Wait::kLinger, server_.loop_.now_ns() + kLingerNs);
  }
  if (!no_more_answers || reading_ != nullptr || phase_ != Phase::kHead || !stash_.empty()) return;
  if (server_.draining_) return close();
  if (requests_ == 0) return;  // still waits for its first byte
  if (sending_.capacity() >= kKeptBufferBytes) server_.give_buffer(std::move(sending_));
  if (out_.capacity() >= kKeptBufferBytes) server_.give_buffer(std::move(out_));
  sending_.clear();
  out_.clear();
  wait_for(Wait::kIdle, server_.loop_.now_ns() + server_.options_.limits.idle_ms * 1'000'000);
}

void Connection::on_eof() {
  eof_ = true;
  if (closed_) return;
  for (ExchangeImpl* exchange = front_; exchange != nullptr; exchange = exchange->next_)
    if (exchange->state_ == ExchangeImpl::State::kLent) server_.handler_.on_client_gone(*exchange);
  if (phase_ == Phase::kLingering) return close();
  if (stash_.empty() || phase_ == Phase::kProxyHeader) end_of_input();
}

void Connection::end_of_input() {
  // Whoever reads a stream without end closes by FIN; there is no other sign that it left.
  for (const ExchangeImpl* exchange = front_; exchange != nullptr; exchange = exchange->next_)
    if (exchange->state_ == ExchangeImpl::State::kStreaming) return close();
  if (phase_ == Phase::kProxyHeader) return close();
  if (reading_ != nullptr) return refuse_reading(refusal::kIncomplete);
  skipping_ = false;
  ended_ = true;
  mark_dirty();  // settles once the queue is empty and everything has left
}

void Connection::on_error(int) { close(); }

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  detach_exchanges();
  stream_.close();
}

void Connection::on_closed() {
  closed_ = true;
  detach_exchanges();
  server_.forget(*this);
  delete this;
}

void Connection::detach_exchanges() {
  if (reading_ != nullptr && !reading_->connection_queued_) server_.give_exchange(reading_);
  reading_ = nullptr;
  skipping_ = false;
  wait_ = Wait::kNone;
  while (front_ != nullptr) {
    ExchangeImpl* const exchange = front_;
    front_ = exchange->next_;
    exchange->next_ = nullptr;
    exchange->connection_ = nullptr;
    switch (exchange->state_) {
      case ExchangeImpl::State::kLent:
        server_.handler_.on_client_gone(*exchange);
        break;
      case ExchangeImpl::State::kStreaming:
      case ExchangeImpl::State::kDecoding:
        break;  // the handler's, or the decode queue's
      default:
        server_.give_exchange(exchange);
    }
  }
  back_ = nullptr;
  queued_ = 0;
}

void Connection::drain() {
  if (!closed_ && front_ == nullptr && reading_ == nullptr && !skipping_ && unsent_bytes() == 0 &&
      phase_ != Phase::kLingering)
    close();
}

// The timer is moved only to an earlier time; a later deadline is noticed when it fires. So a
// connection that is busy touches it about once per idle time, not once per request.
void Connection::wait_for(Wait what, int64_t deadline_ns) {
  wait_ = what;
  deadline_ns_ = deadline_ns;
  if (receive_timer_armed_ && armed_ns_ <= deadline_ns) return;
  receive_timer_armed_ = true;
  armed_ns_ = deadline_ns;
  server_.loop_.arm(receive_timer_, std::max<int64_t>(deadline_ns - server_.loop_.now_ns(), 0));
}

void Connection::on_receive_timer() {
  receive_timer_armed_ = false;
  if (closed_ || wait_ == Wait::kNone) return;
  const int64_t now = server_.loop_.now_ns();
  if (now < deadline_ns_) return wait_for(wait_, deadline_ns_);
  switch (wait_) {
    case Wait::kFirstByte:
      server_.count_limit("first_byte_ms");
      return close();
    case Wait::kIdle:
      server_.count_limit("idle_ms");
      return close();
    case Wait::kHead:
      return refuse_reading(refusal::kHeadSlow);
    case Wait::kBody: {
      const Refusal& reason = now >= body_deadline_ns_ ? refusal::kBodySlow : refusal::kBodyGap;
      if (!skipping_) return refuse_reading(reason);
      server_.count_limit(reason.limit);
      return close();
    }
    case Wait::kLinger:
      return close();
    case Wait::kNone:
      return;
  }
}

void Connection::on_send_timer() {
  send_timer_armed_ = false;
  if (closed_ || send_deadline_ns_ == 0) return;
  const int64_t left = send_deadline_ns_ - server_.loop_.now_ns();
  if (left > 0) {
    send_timer_armed_ = true;
    server_.loop_.arm(send_timer_, left);
    return;
  }
  server_.count_limit("send_stall_ms");
  stream_.reset_on_close();
  close();
}

}  // namespace weir::http
