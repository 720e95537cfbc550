#include "tests/forwarder/faulty_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "storage/base/check.h"
#include "tests/forwarder/inflate.h"

namespace weir::forwarder::testing {
namespace {

// One connection's bytes, plain or TLS.
class Pipe {
 public:
  Pipe(int fd, SSL* ssl, const std::atomic<bool>& stopping)
      : fd_(fd), ssl_(ssl), stopping_(stopping) {}
  ~Pipe() {
    SSL_free(ssl_);
    close(fd_);
  }
  bool handshake() { return ssl_ == nullptr || SSL_accept(ssl_) == 1; }
  // False at the end of the connection, and when the server stops.
  bool read_some(std::string* to) {
    char piece[65536];
    while (!stopping_) {
      if (ssl_ == nullptr || SSL_pending(ssl_) == 0) {
        pollfd poll_set{fd_, POLLIN, 0};
        if (poll(&poll_set, 1, 20) == 0) continue;
      }
      const ssize_t got =
          ssl_ != nullptr ? SSL_read(ssl_, piece, sizeof piece) : recv(fd_, piece, sizeof piece, 0);
      if (got <= 0) return false;
      to->append(piece, static_cast<size_t>(got));
      return true;
    }
    return false;
  }
  bool write_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ssl_ != nullptr
                              ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                              : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(put));
    }
    return true;
  }
  void reset_on_close() {
    const linger option{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &option, sizeof option);
  }

 private:
  int fd_;
  SSL* ssl_;
  const std::atomic<bool>& stopping_;
};

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

// Takes one request off the front of *buffer. False: the client went away.
bool read_request(Pipe& pipe, std::string* buffer, ServerRequest* request) {
  size_t head = 0;
  while ((head = buffer->find("\r\n\r\n")) == std::string::npos)
    if (!pipe.read_some(buffer)) return false;
  const std::string lines = buffer->substr(0, head + 2);
  buffer->erase(0, head + 4);
  const size_t space = lines.find(' ');
  request->method = lines.substr(0, space);
  request->target = lines.substr(space + 1, lines.find(' ', space + 1) - space - 1);
  for (size_t at = lines.find("\r\n") + 2; at < lines.size();) {
    const size_t end = lines.find("\r\n", at);
    const size_t colon = lines.find(':', at);
    request->headers[lower(lines.substr(at, colon - at))] =
        lines.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  const auto length = static_cast<size_t>(std::stoull(request->headers["content-length"]));
  while (buffer->size() < length)
    if (!pipe.read_some(buffer)) return false;
  request->wire_body = buffer->substr(0, length);
  buffer->erase(0, length);
  const std::string encoding = request->headers["content-encoding"];
  request->body = encoding == "gzip"   ? gunzip(request->wire_body)
                  : encoding == "zstd" ? unzstd(request->wire_body)
                                       : request->wire_body;
  return true;
}

}  // namespace

struct FaultyServer::Impl {
  Handler handler;
  SSL_CTX* tls = nullptr;
  int listener = -1;
  int port = 0;
  std::atomic<bool> stopping{false};
  mutable std::mutex mutex;
  std::vector<ServerRequest> requests;
  unsigned connections = 0;
  std::vector<std::thread> threads;
  std::thread acceptor;

  void accept_all() {
    while (!stopping) {
      pollfd poll_set{listener, POLLIN, 0};
      if (poll(&poll_set, 1, 20) <= 0) continue;
      const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      const std::lock_guard lock(mutex);
      threads.emplace_back([this, fd, number = ++connections] { serve(fd, number); });
    }
  }

  void serve(int fd, unsigned number) {
    SSL* ssl = nullptr;
    if (tls != nullptr) {
      ssl = SSL_new(tls);
      SSL_set_fd(ssl, fd);
    }
    Pipe pipe(fd, ssl, stopping);
    if (!pipe.handshake()) return;
    std::string buffer;
    for (;;) {
      ServerRequest request;
      request.connection = number;
      if (!read_request(pipe, &buffer, &request)) return;
      ServerAnswer answer;
      {
        const std::lock_guard lock(mutex);
        requests.push_back(request);
        answer = handler(request);
      }
      if (!reply(pipe, answer)) return;
    }
  }

  // False: the connection ends.
  bool reply(Pipe& pipe, const ServerAnswer& answer) {
    using Fault = ServerAnswer::Fault;
    for (int64_t waited = 0; waited < answer.delay_ms && !stopping; waited += 10)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " X\r\n" +
                             answer.headers +
                             "Content-Length: " + std::to_string(answer.body.size()) + "\r\n\r\n";
    switch (answer.fault) {
      case Fault::kNone:
        return pipe.write_all(answer.status == 204 ? "HTTP/1.1 204 X\r\n" + answer.headers + "\r\n"
                                                   : head + answer.body);
      case Fault::kReset:
        pipe.reset_on_close();
        return false;
      case Fault::kResetMidBody:
        pipe.write_all(head + answer.body.substr(0, answer.body.size() / 2));
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        pipe.reset_on_close();
        return false;
      case Fault::kGarbage:
        pipe.write_all("\x16\x03\x01 this is not HTTP\r\n\r\n");
        return false;
      case Fault::kHang: {
        std::string ignored;
        while (pipe.read_some(&ignored)) {
        }
        return false;
      }
      case Fault::kEndless:
        pipe.write_all("HTTP/1.1 " + std::to_string(answer.status) +
                       " X\r\nTransfer-Encoding: chunked\r\n\r\n");
        while (!stopping && pipe.write_all("400\r\n" + std::string(0x400, 'z') + "\r\n")) {
        }
        return false;
    }
    return false;
  }
};

FaultyServer::FaultyServer(Handler handler, const Tls* tls, int port)
    : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  signal(SIGPIPE, SIG_IGN);  // our own TLS writes; the forwarder's thread blocks it for itself
  if (tls != nullptr) {
    impl_->tls = SSL_CTX_new(TLS_server_method());
    WEIR_CHECK(SSL_CTX_use_certificate_file(impl_->tls, tls->cert_file.c_str(), SSL_FILETYPE_PEM) ==
               1);
    WEIR_CHECK(SSL_CTX_use_PrivateKey_file(impl_->tls, tls->key_file.c_str(), SSL_FILETYPE_PEM) ==
               1);
  }
  impl_->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(impl_->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  WEIR_CHECK(bind(impl_->listener, generic, size) == 0, "errno {}", errno);
  WEIR_CHECK(listen(impl_->listener, 64) == 0);
  getsockname(impl_->listener, generic, &size);
  impl_->port = ntohs(address.sin_port);
  impl_->acceptor = std::thread([this] { impl_->accept_all(); });
}

FaultyServer::~FaultyServer() {
  impl_->stopping = true;
  impl_->acceptor.join();
  for (std::thread& thread : impl_->threads) thread.join();
  close(impl_->listener);
  SSL_CTX_free(impl_->tls);
}

int FaultyServer::port() const { return impl_->port; }

std::string FaultyServer::url(const std::string& path) const {
  return std::string(impl_->tls != nullptr ? "https" : "http") +
         "://127.0.0.1:" + std::to_string(impl_->port) + path;
}

std::vector<ServerRequest> FaultyServer::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->requests;
}

unsigned FaultyServer::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->connections;
}

}  // namespace weir::forwarder::testing
