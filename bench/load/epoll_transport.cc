// Client connections over epoll, with TLS (OpenSSL) where the URL is https.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "bench/load/transport.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"

namespace weir::bench {
namespace {

class EpollTransport : public Transport {
 public:
  EpollTransport(const LoadOptions& options, unsigned connections, TransportHandler& handler)
      : options_(options), handler_(handler), connections_(connections) {}

  ~EpollTransport() override {
    for (Connection& connection : connections_) drop(connection);
    if (context_ != nullptr) SSL_CTX_free(context_);
    if (epoll_fd_ >= 0) close(epoll_fd_);
  }

  Status start() {
    WEIR_ASSIGN_OR_RETURN(address_, resolve(options_.url));
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd_ < 0) return fail_errno(errno, "cannot create an epoll instance");
    if (!options_.url.tls) return {};
    context_ = SSL_CTX_new(TLS_client_method());
    WEIR_CHECK(context_ != nullptr);
    SSL_CTX_set_default_verify_paths(context_);
    SSL_CTX_set_verify(context_, options_.insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return {};
  }

  void connect(unsigned index) override {
    Connection& connection = connections_[index];
    WEIR_CHECK(connection.fd < 0);
    auto fd = make_client_socket(address_);
    if (!fd) {
      handler_.on_disconnected(index, fd.error().os_errno);
      return;
    }
    connection = Connection{};
    connection.fd = *fd;
    const int code =
        ::connect(connection.fd, reinterpret_cast<sockaddr*>(address_.storage), address_.size);
    if (code < 0 && errno != EINPROGRESS) return disconnect(index, errno);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u32 = index;
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, connection.fd, &event);
  }

  void send(unsigned index, std::string_view bytes) override {
    connections_[index].unsent = bytes;
    connections_[index].sending = true;
    // Written from poll(), so that on_sent() never comes from inside send().
    writable_.push_back(index);
  }

  void poll(int64_t until_ns) override {
    std::vector<unsigned> writable;
    writable.swap(writable_);
    for (const unsigned index : writable) write_some(index);
    const int64_t wait_ns = until_ns - Clock::system().monotonic_ns();
    const bool must_not_wait = wait_ns <= 0 || !writable_.empty();
    const timespec timeout{must_not_wait ? 0 : wait_ns / 1'000'000'000,
                           must_not_wait ? 0 : wait_ns % 1'000'000'000};
    std::array<epoll_event, 512> events;
    const int count = epoll_pwait2(epoll_fd_, events.data(), events.size(), &timeout, nullptr);
    for (int i = 0; i < count; ++i) handle(events[static_cast<size_t>(i)]);
  }

  std::string_view name() const override { return options_.url.tls ? "epoll+tls" : "epoll"; }

 private:
  struct Connection {
    int fd = -1;
    SSL* tls = nullptr;
    bool connected = false;
    bool sending = false;
    std::string_view unsent;
  };

  static void drop(Connection& connection) {
    if (connection.tls != nullptr) SSL_free(connection.tls);
    if (connection.fd >= 0) close(connection.fd);
    connection = Connection{};
  }

  void disconnect(unsigned index, int os_errno) {
    if (connections_[index].fd < 0) return;
    drop(connections_[index]);
    handler_.on_disconnected(index, os_errno);
  }

  void handle(const epoll_event& event) {
    const unsigned index = event.data.u32;
    Connection& connection = connections_[index];
    if (connection.fd < 0) return;
    if (!connection.connected && !finish_connect(index)) return;
    if ((event.events & EPOLLOUT) != 0 && connection.sending) write_some(index);
    if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) read_all(index);
  }

  // True when the connection (and its TLS handshake) is complete.
  bool finish_connect(unsigned index) {
    Connection& connection = connections_[index];
    int code = 0;
    socklen_t size = sizeof code;
    getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &code, &size);
    if (code != 0) return disconnect(index, code), false;
    if (options_.url.tls) {
      if (connection.tls == nullptr) {
        connection.tls = SSL_new(context_);
        SSL_set_fd(connection.tls, connection.fd);
        // SSL_set_tlsext_host_name without the macro's old-style cast.
        SSL_ctrl(connection.tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 options_.url.host.data());
        if (!options_.insecure) SSL_set1_host(connection.tls, options_.url.host.c_str());
      }
      const int done = SSL_connect(connection.tls);
      if (done != 1) {
        const int why = SSL_get_error(connection.tls, done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) disconnect(index, EPROTO);
        return false;
      }
    } else {
      char none = 0;
      if (::send(connection.fd, &none, 0, MSG_NOSIGNAL) < 0 && errno == ENOTCONN) return false;
    }
    connection.connected = true;
    handler_.on_connected(index);
    return connections_[index].fd >= 0;
  }

  void write_some(unsigned index) {
    Connection& connection = connections_[index];
    if (connection.fd < 0 || !connection.connected) return;
    while (!connection.unsent.empty()) {
      ssize_t written = 0;
      if (connection.tls != nullptr) {
        written = SSL_write(connection.tls, connection.unsent.data(),
                            static_cast<int>(connection.unsent.size()));
        if (written <= 0) {
          const int why = SSL_get_error(connection.tls, static_cast<int>(written));
          if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
          return disconnect(index, EPROTO);
        }
      } else {
        written =
            ::send(connection.fd, connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN) return;
        if (written < 0) return disconnect(index, errno);
      }
      connection.unsent.remove_prefix(static_cast<size_t>(written));
    }
    if (connection.sending) {
      connection.sending = false;
      handler_.on_sent(index);
    }
  }

  void read_all(unsigned index) {
    std::array<char, 16'384> buffer;
    for (;;) {
      Connection& connection = connections_[index];
      if (connection.fd < 0) return;
      ssize_t got = 0;
      if (connection.tls != nullptr) {
        got = SSL_read(connection.tls, buffer.data(), buffer.size());
        if (got <= 0) {
          const int why = SSL_get_error(connection.tls, static_cast<int>(got));
          if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
          return disconnect(index, 0);
        }
      } else {
        got = recv(connection.fd, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) return disconnect(index, got < 0 ? errno : 0);
      }
      handler_.on_data(index, {buffer.data(), static_cast<size_t>(got)});
    }
  }

  LoadOptions options_;
  TransportHandler& handler_;
  std::vector<Connection> connections_;
  std::vector<unsigned> writable_;
  ResolvedAddress address_;
  SSL_CTX* context_ = nullptr;
  int epoll_fd_ = -1;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_epoll_transport(const LoadOptions& options,
                                                        unsigned connections,
                                                        TransportHandler& handler) {
  auto transport = std::make_unique<EpollTransport>(options, connections, handler);
  WEIR_RETURN_IF_ERROR(transport->start());
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace weir::bench
