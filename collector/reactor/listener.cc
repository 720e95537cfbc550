#include "collector/reactor/listener.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <optional>

#include "collector/reactor/limits.h"
#include "collector/reactor/loop_impl.h"
#include "collector/reactor/socket.h"
#include "storage/base/log.h"

namespace weir::reactor {
namespace {

constexpr const char* kRefusalNames[] = {"max_connections", "descriptors", "gone", "handler",
                                         "stopping"};
constexpr const char* kRearmNames[] = {"completion_queue_full", "descriptors", "aborted",
                                       "interrupted",           "memory",      "error"};

}  // namespace

Result<std::unique_ptr<SocketListener>> SocketListener::create(LoopImpl& loop,
                                                               const ListenerOptions& options,
                                                               ConnectionFactory& factory,
                                                               MetricRegistry& metrics) {
  WEIR_ASSIGN_OR_RETURN(const int fd, open_listening_socket(options));
  std::unique_ptr<SocketListener> listener(new SocketListener(loop, options, factory, metrics));
  listener->listen_fd_ = fd;
  listener->port_ = local_port(fd);
  listener->reserve_fd_ = open_reserve_descriptor();
  return listener;
}

SocketListener::SocketListener(LoopImpl& loop, const ListenerOptions& options,
                               ConnectionFactory& factory, MetricRegistry& metrics)
    : loop_(loop),
      factory_(factory),
      name_(options.name),
      max_connections_(options.max_connections),
      open_gauge_(metrics.gauge(Metric::kConnectionsOpen, {options.name})),
      accepted_(metrics.counter(Metric::kConnectionsTotal, {options.name})) {
  static_assert(std::size(kRefusalNames) == kRefusals && std::size(kRearmNames) == kRearms);
  for (size_t i = 0; i < kRefusals; ++i)
    refused_[i] = &metrics.counter(Metric::kConnectionsRefused, {name_, kRefusalNames[i]});
  for (size_t i = 0; i < kRearms; ++i)
    rearmed_[i] = &metrics.counter(Metric::kReactorAcceptRearmed, {kRearmNames[i]});
  accept_.bind<&SocketListener::on_accepted>(this);
  cancel_.bind<&SocketListener::on_cancelled>(this);
}

SocketListener::~SocketListener() {
  if (listen_fd_ >= 0) close(listen_fd_);
  if (reserve_fd_ >= 0) close(reserve_fd_);
}

void SocketListener::arm() {
  if (!stopping_ && !accept_.in_flight()) loop_.ring().accept_multishot(accept_, listen_fd_);
}

void SocketListener::on_accepted(const CompletionEvent& event) {
  if (event.result >= 0) admit(event.result);
  if (!event.more()) accept_ended(event.result);
}

void SocketListener::admit(int fd) {
  PeerAddress peer;
  std::optional<Refusal> refusal;
  if (stopping_)
    refusal = Refusal::kStopping;
  else if (connections_ >= max_connections_)
    refusal = Refusal::kMaxConnections;
  else if (!read_peer_address(fd, &peer))
    refusal = Refusal::kGone;
  if (refusal) {
    close(fd);
    return refuse(*refusal);
  }
  ++connections_;
  open_gauge_.set(connections_);
  accepted_.add();
  SocketStream& stream = loop_.streams().take();
  stream.open(fd, peer, *this);
  StreamHandler* handler = factory_.on_connection(stream);
  if (handler == nullptr) refuse(Refusal::kHandler);
  stream.start(handler);
}

void SocketListener::accept_ended(int32_t result) {
  if (stopping_) return finish_stop();
  switch (-result) {
    case EMFILE:  // the limit of the process, as it was when the accept was armed
    case ENFILE:  // the limit of the machine
      return shed();
    // accept(2): errors of the connection that was about to be accepted; the next one is fine.
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case EPERM:  // a firewall rule
      return rearm(Rearm::kAborted);
    case EAGAIN:
    case EINTR:
    case ECANCELED:
      return rearm(Rearm::kInterrupted);
    case ENOMEM:
    case ENOBUFS:
      return back_off(Rearm::kMemory);
    default:
      if (result >= 0) return rearm(Rearm::kQueueFull);
      log::error("accept_failed", {{"listener", name_}, {"errno", -result}});
      return back_off(Rearm::kError);
  }
}

// Without this the clients in the backlog would wait until some connection happens to close.
void SocketListener::shed() {
  unsigned shed = 0;
  while (shed < kShedPerTurn && reserve_fd_ >= 0) {
    close(reserve_fd_);
    // The socket is blocking, but nobody else accepts from it: what poll saw stays there.
    pollfd waiting{listen_fd_, POLLIN, 0};
    const int fd =
        poll(&waiting, 1, 0) == 1 ? accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC) : -1;
    if (fd >= 0) {
      close(fd);
      ++shed;
    }
    reserve_fd_ = open_reserve_descriptor();
    if (fd < 0) break;
  }
  if (shed > 0) refuse(Refusal::kDescriptors, shed);
  if (reserve_fd_ < 0 || shed == 0) return back_off(Rearm::kDescriptors);
  rearm(Rearm::kDescriptors);
}

void SocketListener::back_off(Rearm reason) {
  rearmed_[static_cast<size_t>(reason)]->add();
  loop_.arm(*this, kAcceptBackoffNs);
}

void SocketListener::on_timer() {
  if (reserve_fd_ < 0) reserve_fd_ = open_reserve_descriptor();
  arm();
}

void SocketListener::rearm(Rearm reason) {
  rearmed_[static_cast<size_t>(reason)]->add();
  arm();
}

// Counted each, logged once a second: a flood must not become a flood of lines.
void SocketListener::refuse(Refusal reason, unsigned count) {
  refused_[static_cast<size_t>(reason)]->add(count);
  refused_unlogged_ += count;
  if (loop_.now_ns() < next_refusal_log_ns_) return;
  next_refusal_log_ns_ = loop_.now_ns() + 1'000'000'000;
  log::warn("connections_refused", {{"listener", name_},
                                    {"last_reason", kRefusalNames[static_cast<size_t>(reason)]},
                                    {"count", refused_unlogged_},
                                    {"open", connections_}});
  refused_unlogged_ = 0;
}

void SocketListener::connection_closed() {
  --connections_;
  open_gauge_.set(connections_);
}

void SocketListener::stop_accepting() {
  if (stopping_) return;
  stopping_ = true;
  loop_.cancel(*this);
  if (accept_.in_flight())
    loop_.ring().cancel(cancel_, accept_);
  else
    finish_stop();
}

void SocketListener::on_cancelled(const CompletionEvent&) { finish_stop(); }

void SocketListener::finish_stop() {
  if (accept_.in_flight() || cancel_.in_flight() || listen_fd_ < 0) return;
  close(listen_fd_);
  listen_fd_ = -1;
}

}  // namespace weir::reactor
