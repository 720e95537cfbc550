#include "collector/reactor/socket_stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "collector/reactor/listener.h"
#include "collector/reactor/loop_impl.h"
#include "storage/base/check.h"

namespace weir::reactor {
namespace {

// What a refused connection talks to while it is closed.
class DeafHandler final : public StreamHandler {
 public:
  void on_data(std::string_view) override {}
  void on_eof() override {}
  void on_sent() override {}
  void on_error(int) override {}
  void on_closed() override {}
};
DeafHandler deaf_handler;

}  // namespace

SocketStream::SocketStream(LoopImpl& loop) : loop_(loop), starved_(*this) {
  receive_.bind<&SocketStream::on_received>(this);
  send_.bind<&SocketStream::on_send_done>(this);
  cancel_.bind<&SocketStream::on_cancelled>(this);
}

void SocketStream::open(int fd, const PeerAddress& peer, SocketListener& listener) {
  WEIR_CHECK(fd_ < 0 && !receive_.in_flight() && !send_.in_flight() && !cancel_.in_flight());
  fd_ = fd;
  peer_ = peer;
  listener_ = &listener;
  handler_ = &deaf_handler;
  paused_ = eof_ = eof_delivered_ = failed_ = closing_ = resetting_ = write_shut_ = false;
  send_next_ = nullptr;
  send_left_ = 0;
}

void SocketStream::start(StreamHandler* handler) {
  if (handler == nullptr) return close();
  handler_ = handler;
  receive();
}

// --- receiving

// Arms the multishot receive where invariant 3 asks for it.
void SocketStream::receive() {
  if (receive_.in_flight() || starved_.linked() || eof_ || failed_ || closing_) return;
  if (paused_ && !held_.empty()) return;
  loop_.ring().receive_multishot(receive_, fd_, BufferPool::kGroup);
}

void SocketStream::on_received(const CompletionEvent& event) {
  if (event.has_buffer()) take_bytes(event);
  if (!event.more()) return receive_ended(event.result);
  // Paused is only made real when bytes arrive: a client that waits for its answer costs nothing.
  if (paused_ && !held_.empty() && !closing_ && !cancel_.in_flight())
    loop_.ring().cancel(cancel_, receive_);
}

// The handler reads the kernel's buffer in place; it is back in the ring right afterwards.
void SocketStream::take_bytes(const CompletionEvent& event) {
  if (event.result > 0 && !closing_) {
    const auto size = static_cast<size_t>(event.result);
    const std::string_view bytes = loop_.buffers().received(event.buffer(), size);
    loop_.counters().received_bytes.add(size);
    if (paused_ || !held_.empty())
      held_.append(bytes);
    else
      handler_->on_data(bytes);
  }
  loop_.buffers().give_back(event.buffer());
}

void SocketStream::receive_ended(int32_t result) {
  if (closing_) return join_close();
  switch (result) {
    case 0:
      eof_ = true;
      return deliver_eof();
    case -ENOBUFS:  // nothing was taken from the socket
      loop_.counters().starved.add();
      return loop_.wait_for_buffer(starved_);
    case -ECANCELED:  // paused, perhaps resumed since
    case -EINTR:
    case -EAGAIN:
      return receive();
    default:
      if (result < 0) return report_error(-result);
      return receive();  // ended early, with bytes: a full completion queue, or no reason at all
  }
}

void SocketStream::receive_after_starving() { receive(); }

void SocketStream::resume_receiving() {
  if (!paused_) return;
  paused_ = false;
  if (!held_.empty() || (eof_ && !eof_delivered_))
    loop_.defer(*this);
  else
    receive();
}

void SocketStream::deliver_held() {
  if (!paused_ && !held_.empty()) {
    const std::string bytes = std::exchange(held_, {});
    handler_->on_data(bytes);
  }
  deliver_eof();
  receive();
}

void SocketStream::deliver_eof() {
  if (!eof_ || eof_delivered_ || paused_ || closing_ || !held_.empty()) return;
  eof_delivered_ = true;
  handler_->on_eof();
}

void SocketStream::report_error(int os_errno) {
  if (failed_ || closing_) return;
  failed_ = true;
  handler_->on_error(os_errno);
}

// --- sending

void SocketStream::send(std::string_view bytes) {
  WEIR_CHECK(!sending() && !closing_ && !write_shut_ && !bytes.empty(),
             "sending={} closing={} write_shut={} bytes={}", sending(), closing_, write_shut_,
             bytes.size());
  send_next_ = bytes.data();
  send_left_ = bytes.size();
  send_rest();
}

void SocketStream::send_rest() {
  loop_.ring().send(send_, fd_, std::string_view(send_next_, send_left_));
}

void SocketStream::on_send_done(const CompletionEvent& event) {
  if (event.result > 0) {
    const auto size = static_cast<size_t>(event.result);
    loop_.counters().sent_bytes.add(size);
    send_next_ += size;
    send_left_ -= size;
  }
  if (closing_) return join_close();
  const bool again = event.result == -EAGAIN || event.result == -EINTR;
  if (event.result <= 0 && !again) {
    send_left_ = 0;
    return report_error(event.result == 0 ? EPIPE : -event.result);
  }
  if (send_left_ != 0) return send_rest();  // the socket's buffer took only a part
  if (write_shut_) ::shutdown(fd_, SHUT_WR);
  handler_->on_sent();
}

void SocketStream::shutdown_write() {
  if (write_shut_ || closing_) return;
  write_shut_ = true;
  // Fails only when the connection is gone; then the receive side reports it.
  if (!sending()) ::shutdown(fd_, SHUT_WR);
}

// --- closing: a join of everything the kernel still holds

void SocketStream::reset_on_close() {
  if (closing_ || resetting_) return;
  resetting_ = true;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void SocketStream::close() {
  if (closing_) return;
  closing_ = true;
  starved_.unlink();
  held_ = {};
  // Ends the operations by itself in most cases and tells the peer at once; with a reset the
  // close does that.
  if (!resetting_ && (receive_.in_flight() || send_.in_flight())) ::shutdown(fd_, SHUT_RDWR);
  if (receive_.in_flight() || send_.in_flight() || cancel_.in_flight())
    join_close();
  else
    loop_.defer(*this);
}

void SocketStream::run() {
  if (closing_)
    join_close();
  else
    deliver_held();
}

void SocketStream::on_cancelled(const CompletionEvent&) {
  if (closing_) join_close();
}

// Called for each terminal event after close(), and once from close() itself. Closing the
// descriptor would not end an armed receive, and its number would be reused under it.
void SocketStream::join_close() {
  if (queued()) return;  // run() comes back here
  if (receive_.in_flight() || send_.in_flight()) {
    if (!cancel_.in_flight()) loop_.ring().cancel_descriptor(cancel_, fd_);
    return;
  }
  if (!cancel_.in_flight()) finish_close();
}

void SocketStream::finish_close() {
  ::close(fd_);
  fd_ = -1;
  listener_->connection_closed();
  handler_->on_closed();
  handler_ = &deaf_handler;
  loop_.streams().give_back(*this);
}

void SocketStream::close_without_ring() {
  closing_ = true;
  starved_.unlink();
  held_ = {};
  receive_.abandon();
  send_.abandon();
  cancel_.abandon();
  finish_close();
}

// --- the slab

SocketStream& StreamSlab::take() {
  ++open_;
  if (free_ == nullptr) return streams_.emplace_back(loop_);
  SocketStream& stream = *free_;
  free_ = stream.next_free_;
  stream.next_free_ = nullptr;
  return stream;
}

void StreamSlab::give_back(SocketStream& stream) {
  WEIR_CHECK(!stream.is_open() && !stream.queued());
  --open_;
  stream.next_free_ = free_;
  free_ = &stream;
}

}  // namespace weir::reactor
