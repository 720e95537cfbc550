// Listeners over the real ring: what accepting survives, and what it refuses.
#include <sys/resource.h>
#include <sys/wait.h>

#include <vector>

#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

class ListenerTest : public LoopTest {};

TEST_F(ListenerTest, RefusesWhatIsNoAddress) {
  make_loop();
  LambdaFactory factory([](Stream&) { return nullptr; });
  listener_options_.address = "localhost";
  const auto listener = loop_->listen(listener_options_, factory);
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(listener.error().message, testing::HasSubstr("\"localhost\" is not an IPv4 or IPv6"));
}

TEST_F(ListenerTest, SaysWhenAnotherProcessListensThere) {
  listen_and_echo();
  LambdaFactory factory([](Stream&) { return nullptr; });
  listener_options_.port = port();
  const auto listener = loop_->listen(listener_options_, factory);
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().os_errno, EADDRINUSE);
  EXPECT_THAT(listener.error().message, testing::HasSubstr("another process listens there"));
}

TEST_F(ListenerTest, SharesAPortWhenAskedTo) {
  listener_options_.reuse_port = true;
  listen_and_echo();
  listener_options_.port = port();
  const auto second = loop_->listen(listener_options_, *factory_);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_EQ((*second)->port(), port());
}

TEST_F(ListenerTest, TellsThePeersAddress) {
  listener_options_.address = "::";
  std::atomic<bool> checked{false};
  std::atomic<int> expected_port{0};
  listen([&](Stream& stream) {
    // An IPv4 client of a dual-stack listener is shown as IPv4.
    EXPECT_EQ(stream.peer().ip_text(), "127.0.0.1");
    EXPECT_TRUE(stream.peer().is_loopback());
    expected_port = stream.peer().port();
    checked = true;
    return new EchoHandler(stream, seen_);
  });
  start();
  Client client(port());
  ASSERT_TRUE(eventually([&] { return checked.load(); }));
  sockaddr_in local{};
  socklen_t size = sizeof local;
  getsockname(client.fd(), reinterpret_cast<sockaddr*>(&local), &size);
  EXPECT_EQ(ntohs(local.sin_port), expected_port);
  stop();
}

TEST(PeerAddressTest, ReadsBothFamilies) {
  PeerAddress peer;
  auto& wide = reinterpret_cast<sockaddr_in6&>(peer.storage);
  wide.sin6_family = AF_INET6;
  wide.sin6_port = htons(4711);
  ASSERT_EQ(inet_pton(AF_INET6, "2001:db8::1", &wide.sin6_addr), 1);
  EXPECT_EQ(peer.ip_text(), "2001:db8::1");
  EXPECT_EQ(peer.port(), 4711);
  EXPECT_FALSE(peer.is_loopback());
  ASSERT_EQ(inet_pton(AF_INET6, "::1", &wide.sin6_addr), 1);
  EXPECT_TRUE(peer.is_loopback());
  ASSERT_EQ(inet_pton(AF_INET6, "::ffff:10.1.2.3", &wide.sin6_addr), 1);
  EXPECT_EQ(peer.ip_text(), "10.1.2.3");
  EXPECT_FALSE(peer.is_loopback());
  EXPECT_EQ(PeerAddress{}.ip_text(), "");
  EXPECT_FALSE(PeerAddress{}.is_loopback());
}

TEST_F(ListenerTest, ClosesConnectionsBeyondTheirMaximumAndRecovers) {
  listener_options_.max_connections = 10;
  listen_and_echo();
  start();
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back(port());
    clients.back().write("a");
    ASSERT_EQ(clients.back().read(1), "a");
  }
  for (int i = 0; i < 50; ++i) {
    Client refused(port());
    EXPECT_EQ(refused.read(1), "");
  }
  EXPECT_TRUE(
      eventually([&] { return metric(Metric::kConnectionsRefused, "max_connections") == 50; }));
  EXPECT_EQ(metric(Metric::kConnectionsOpen), 10);
  for (auto& client : clients) {
    client.write("b");
    EXPECT_EQ(client.read(1), "b");
  }
  clients.pop_back();
  ASSERT_TRUE(eventually([&] { return seen_.closed == 1; }));
  Client next(port());
  next.write("c");
  EXPECT_EQ(next.read(1), "c");
}

// The kernel ends a multishot accept when the completion queue is full, with a valid descriptor in
// its last event.
TEST_F(ListenerTest, SurvivesMoreConnectionsThanTheCompletionQueueHolds) {
  options_.ring_entries = 4;
  options_.completion_entries = 8;
  options_.receive_buffers = 4;
  listen_and_echo();
  std::vector<Client> clients;
  constexpr int kClients = 100;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(port());  // all wait in the backlog
  start();
  for (int round = 0; round < 3; ++round) {
    for (auto& client : clients) client.write("ping");
    for (auto& client : clients) ASSERT_EQ(client.read(4), "ping");
  }
  EXPECT_EQ(seen_.opened, kClients);
  EXPECT_GT(metric(Metric::kReactorAcceptRearmed, "completion_queue_full"), 0);
  for (auto& client : clients) client.shutdown_write();
  for (auto& client : clients) EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == kClients; }));
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

TEST_F(ListenerTest, KeepsOpenConnectionsWhenItStopsAccepting) {
  make_loop();
  loop_->on_wakeup([this] { listener_->stop_accepting(); });
  listen_and_echo();
  start();
  Client client(port());
  client.write("1");
  ASSERT_EQ(client.read(1), "1");
  loop_->wakeup().notify();
  ASSERT_TRUE(eventually([&] {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int result = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    close(fd);
    return result != 0;
  }));
  client.write("2");
  EXPECT_EQ(client.read(1), "2");
}

TEST_F(ListenerTest, GivesItsConnectionsNoDelay) {
  listen_and_echo();
  start();
  Client client(port());
  client.write("x");
  ASSERT_EQ(client.read(1), "x");
  sockaddr_in local{};
  socklen_t size = sizeof local;
  getsockname(client.fd(), reinterpret_cast<sockaddr*>(&local), &size);
  // The accepted end is the other descriptor of this process whose peer is the client.
  bool found = false;
  for (int fd = 3; fd < 200 && !found; ++fd) {
    sockaddr_in peer{};
    size = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    if (peer.sin_port != local.sin_port) continue;
    int no_delay = 0;
    size = sizeof no_delay;
    ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
    EXPECT_EQ(no_delay, 1);
    found = true;
  }
  EXPECT_TRUE(found);
}

// Runs in a process of its own, because the limit is the process's: echoes until it gets "quit".
// Exit code 0: refusals were counted and everything closed.
[[noreturn]] void serve_with_few_descriptors(int port_pipe) {
  class Quitter : public EchoHandler {
   public:
    Quitter(Stream& stream, Seen& seen, Loop& loop) : EchoHandler(stream, seen), loop_(loop) {}
    void on_data(std::string_view bytes) override {
      if (bytes == "quit") return loop_.stop();
      EchoHandler::on_data(bytes);
    }

   private:
    Loop& loop_;
  };
  MetricRegistry metrics;
  Seen seen;
  auto loop = Loop::create(LoopOptions{}, metrics);
  if (!loop) _exit(10);
  LambdaFactory factory([&](Stream& stream) { return new Quitter(stream, seen, **loop); });
  const auto listener = (*loop)->listen(ListenerOptions{}, factory);
  if (!listener) _exit(11);
  const int next_fd = dup(port_pipe);
  close(next_fd);
  const rlimit few{static_cast<rlim_t>(next_fd + 5), static_cast<rlim_t>(next_fd + 5)};
  if (setrlimit(RLIMIT_NOFILE, &few) != 0) _exit(12);
  const uint16_t port = (*listener)->port();
  if (write(port_pipe, &port, sizeof port) != sizeof port) _exit(13);
  (*loop)->run();
  double refused = 0;
  for (const auto& series : metrics.collect())
    if (series.metric == Metric::kConnectionsRefused) refused += series.value;
  if (refused == 0) _exit(14);
  if (seen.opened != seen.closed) _exit(15);
  _exit(0);
}

TEST_F(ListenerTest, SurvivesRunningOutOfDescriptors) {
  int port_pipe[2];
  ASSERT_EQ(pipe(port_pipe), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) serve_with_few_descriptors(port_pipe[1]);
  close(port_pipe[1]);
  uint16_t port = 0;
  ASSERT_EQ(read(port_pipe[0], &port, sizeof port), ssize_t{sizeof port});
  close(port_pipe[0]);

  std::vector<Client> served;
  int refused = 0;
  for (int i = 0; i < 30; ++i) {
    Client client(port);
    ::send(client.fd(), "x", 1, MSG_NOSIGNAL);
    if (client.read(1) == "x")
      served.push_back(std::move(client));
    else
      ++refused;  // closed at once, not left hanging
  }
  EXPECT_GE(served.size(), 3u);
  EXPECT_GE(refused, 20);
  for (auto& client : served) {
    client.write("y");
    EXPECT_EQ(client.read(1), "y");
  }
  served.pop_back();
  // A descriptor is free again: somebody new is served.
  EXPECT_TRUE(eventually([&] {
    Client client(port);
    ::send(client.fd(), "z", 1, MSG_NOSIGNAL);
    return client.read(1) == "z";
  }));
  served.back().write("quit");
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace weir::reactor
