// What the reactor's tests share: a loop on a thread of its own, handlers that echo, and plain
// blocking client sockets. Everything runs over the real ring and loopback TCP.
#pragma once

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "collector/reactor/loop.h"
#include "storage/base/metrics.h"

namespace weir::reactor {

constexpr int kPatienceSeconds = 20;  // a test that waits longer has failed

// A connected client. Fails the test instead of blocking for ever.
class Client {
 public:
  Client() = default;
  explicit Client(uint16_t port, int receive_buffer_bytes = 0) {
    connect(port, receive_buffer_bytes);
  }
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Client() { close(); }

  void connect(uint16_t port, int receive_buffer_bytes = 0) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd_, 0) << errno;
    if (receive_buffer_bytes > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    const timeval patience{kPatienceSeconds, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << errno;
  }

  int fd() const { return fd_; }
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0) << "send: errno " << errno;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Up to `size` bytes; fewer only at end of stream or after an error.
  std::string read(size_t size) {
    std::string bytes(size, '\0');
    size_t have = 0;
    while (have < size) {
      const ssize_t got = ::recv(fd_, bytes.data() + have, size - have, 0);
      if (got <= 0) {
        last_errno_ = got < 0 ? errno : 0;
        break;
      }
      have += static_cast<size_t>(got);
    }
    bytes.resize(have);
    return bytes;
  }
  // True at a clean end of stream.
  bool at_eof() {
    char byte;
    const ssize_t got = ::recv(fd_, &byte, 1, 0);
    last_errno_ = got < 0 ? errno : 0;
    return got == 0;
  }
  int last_errno() const { return last_errno_; }
  void shutdown_write() { ::shutdown(fd_, SHUT_WR); }
  void reset() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
  int last_errno_ = 0;
};

// What a handler saw; counts are read by the test's thread.
struct Seen {
  std::atomic<int> opened{0};
  std::atomic<int> eof{0};
  std::atomic<int> errors{0};
  std::atomic<int> last_error{0};
  std::atomic<int> closed{0};
  std::atomic<int> sent{0};
  std::atomic<uint64_t> bytes{0};
};

// Sends back what it gets, in order; closes after the peer's end of stream once all is sent. Tests
// override what they need. OWNS: itself, until on_closed().
class EchoHandler : public StreamHandler {
 public:
  EchoHandler(Stream& stream, Seen& seen) : stream_(stream), seen_(seen) { ++seen_.opened; }

  void on_data(std::string_view bytes) override {
    seen_.bytes += bytes.size();
    waiting_.append(bytes);
    flush();
  }
  void on_eof() override {
    ++seen_.eof;
    ended_ = true;
    flush();
  }
  void on_sent() override {
    ++seen_.sent;
    flush();
  }
  void on_error(int os_errno) override {
    ++seen_.errors;
    seen_.last_error = os_errno;
    stream_.close();
  }
  void on_closed() override {
    ++seen_.closed;
    delete this;
  }

 protected:
  void flush() {
    if (stream_.sending()) return;
    if (!waiting_.empty()) {
      sending_ = std::exchange(waiting_, {});
      stream_.send(sending_);
    } else if (ended_) {
      stream_.close();
    }
  }

  Stream& stream_;
  Seen& seen_;
  std::string waiting_;
  std::string sending_;
  bool ended_ = false;
};

class LambdaFactory : public ConnectionFactory {
 public:
  using Make = std::function<StreamHandler*(Stream&)>;
  explicit LambdaFactory(Make make) : make_(std::move(make)) {}
  StreamHandler* on_connection(Stream& stream) override { return make_(stream); }

 private:
  Make make_;
};

// A loop with one listener, on its own thread between start() and stop(). A test whose callbacks
// refer to its local variables ends with stop(): they run until then.
class LoopTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const IoUringReport report = probe_io_uring(); !report.usable)
      GTEST_SKIP() << report.detail;
  }
  void TearDown() override { stop(); }

  // Before start().
  Loop& make_loop() {
    options_.name = "test";
    // A ring that goes away interrupts system calls of the thread that made it: not this one.
    std::thread([this] {
      auto loop = Loop::create(options_, metrics_);
      ASSERT_TRUE(loop.has_value()) << loop.error().message;
      loop_ = std::move(*loop);
    }).join();
    return *loop_;
  }
  void listen(LambdaFactory::Make make) {
    if (!loop_) make_loop();
    factory_ = std::make_unique<LambdaFactory>(std::move(make));
    auto listener = loop_->listen(listener_options_, *factory_);
    ASSERT_TRUE(listener.has_value()) << listener.error().message;
    listener_ = *listener;
  }
  void listen_and_echo() {
    listen([this](Stream& stream) { return new EchoHandler(stream, seen_); });
  }
  void start() {
    thread_ = std::thread([this] { loop_->run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    const auto begin = std::chrono::steady_clock::now();
    loop_->stop();
    thread_.join();
    const auto took = std::chrono::steady_clock::now() - begin;
    if (options_.close_timeout_ns > 0) {
      EXPECT_LT(took, std::chrono::nanoseconds(options_.close_timeout_ns)) << "a join hung";
    }
  }
  uint16_t port() const { return listener_->port(); }

  // Waits until the condition holds.
  static bool eventually(const std::function<bool()>& holds) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(kPatienceSeconds);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  // The sum over the cells of a metric, all labels.
  double metric(Metric which, const std::string& label = {}) const {
    double sum = 0;
    for (const auto& series : metrics_.collect()) {
      if (series.metric != which) continue;
      bool matches = label.empty();
      for (const auto& value : series.label_values) matches = matches || value == label;
      if (matches) sum += series.value;
    }
    return sum;
  }

  LoopOptions options_;
  ListenerOptions listener_options_;
  MetricRegistry metrics_;
  Seen seen_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<LambdaFactory> factory_;
  Listener* listener_ = nullptr;
  std::thread thread_;
};

// Bytes that differ at every position, so that loss, doubling and reordering are all seen.
inline std::string pattern_bytes(size_t size, uint32_t seed = 1) {
  std::string bytes(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

}  // namespace weir::reactor
