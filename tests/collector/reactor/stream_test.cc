// Streams over the real ring: what one connection can rely on, whatever the peer does.
#include "collector/reactor/stream.h"

#include <random>
#include <vector>

#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

class StreamTest : public LoopTest {};

TEST_F(StreamTest, EchoesWhatTheClientSends) {
  listen_and_echo();
  start();
  Client client(port());
  client.write("hello");
  EXPECT_EQ(client.read(5), "hello");
  client.shutdown_write();
  EXPECT_TRUE(client.at_eof());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
  EXPECT_EQ(seen_.eof, 1);
  EXPECT_EQ(seen_.errors, 0);
}

TEST_F(StreamTest, KeepsBytesInOrderHoweverTheyAreSplit) {
  listen_and_echo();
  start();
  Client client(port());
  const std::string bytes = pattern_bytes(300'000);
  std::thread reader([&] { EXPECT_EQ(client.read(bytes.size()), bytes); });
  std::mt19937 random(7);
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(1 + random() % 3000, bytes.size() - at);
    client.write(std::string_view(bytes).substr(at, size));
    at += size;
  }
  reader.join();
}

TEST_F(StreamTest, ServesThousandsOfConnectionsAtOnce) {
  listen_and_echo();
  start();
  constexpr int kConnections = 2000;
  std::vector<Client> clients;
  for (int i = 0; i < kConnections; ++i) clients.emplace_back(port());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kConnections; ++i) clients[i].write("m" + std::to_string(i * 7 + round));
    for (int i = 0; i < kConnections; ++i) {
      const std::string expected = "m" + std::to_string(i * 7 + round);
      ASSERT_EQ(clients[i].read(expected.size()), expected);
    }
  }
  EXPECT_EQ(seen_.opened, kConnections);
  clients.clear();
  EXPECT_TRUE(eventually([&] { return seen_.closed == kConnections; }));
  EXPECT_TRUE(eventually([&] { return metric(Metric::kConnectionsOpen) == 0; }));
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

}  // namespace
}  // namespace weir::reactor
