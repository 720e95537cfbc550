// The same server over the real loop and real sockets.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "tests/collector/http/fixture.h"

namespace weir::http {
namespace {

using namespace test;

class SocketServer {
 public:
  SocketServer() : budget_(64 << 20) {
    reactor::LoopOptions small;
    small.ring_entries = 64;
    small.completion_entries = 256;
    small.receive_buffers = 16;
    small.receive_buffer_bytes = 1024;
    auto loop = reactor::Loop::create(small, metrics_);
    if (!loop) {
      error_ = loop.error().message;
      return;
    }
    loop_ = std::move(*loop);
    auto server = Server::create(production_options(), *loop_, handler_, budget_, metrics_);
    EXPECT_TRUE(server.has_value());
    server_ = std::move(*server);
    auto listener = loop_->listen({}, *server_);
    EXPECT_TRUE(listener.has_value()) << listener.error().message;
    port_ = (*listener)->port();
    thread_ = std::thread([this] { loop_->run(); });
  }
  ~SocketServer() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }

  int connect() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    timeval timeout{10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return fd;
  }
  const std::string& error() const { return error_; }

 private:
  std::string error_;
  ScriptedHandler handler_;
  MetricRegistry metrics_;
  BodyBudget budget_;
  // The loop goes first, then the server: it may be destroyed only without connections.
  std::unique_ptr<Server> server_;
  std::unique_ptr<reactor::Loop> loop_;
  uint16_t port_ = 0;
  std::thread thread_;
};

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

// Until the text contains count times `piece`, or the connection ends.
std::string receive_until(int fd, std::string_view piece, size_t count) {
  std::string text;
  char buffer[65536];
  while (count_of(text, piece) < count) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;  // destroying a ring may interrupt one call
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

TEST(Sockets, KeepAliveAndPipelining) {
  SocketServer server;
  ASSERT_EQ(server.error(), "");
  const int fd = server.connect();
  for (int round = 0; round < 20; ++round) {
    std::string requests;
    for (int i = 0; i < 30; ++i)
      requests += "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nhello" +
                  std::string(1, static_cast<char>('0' + i % 10));
    send_all(fd, requests);
    EXPECT_EQ(count_of(receive_until(fd, "\r\n\r\nhello", 30), "HTTP/1.1 200 OK"), 30u);
  }
  ::close(fd);
}

TEST(Sockets, ALargeBodyComesBackWhole) {
  SocketServer server;
  ASSERT_EQ(server.error(), "");
  const int fd = server.connect();
  const std::string body(3'000'000, 'z');
  std::thread sender([&] {
    send_all(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                     std::to_string(body.size()) + "\r\n\r\n" + body);
  });
  const std::string answer = receive_until(fd, "never", 1);
  sender.join();
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer).size(), body.size());
  ::close(fd);
}

TEST(Sockets, AnErrorAnswerReachesAClientThatIsStillSending) {
  SocketServer server;
  ASSERT_EQ(server.error(), "");
  for (int i = 0; i < 20; ++i) {
    const int fd = server.connect();
    const std::string body(1'000'000, 'z');
    send_all(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + body);
    EXPECT_EQ(status_of(receive_until(fd, "never", 1)), 413);
    ::close(fd);
  }
}

}  // namespace
}  // namespace weir::http
