// In steady state a request costs no allocation: exchanges, head bytes, header lists, body blocks
// and answers are reused. Counts every call of operator new in this program.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/collector/http/fixture.h"

namespace {
size_t allocations = 0;
}

// Not inlined: GCC would take free() for a mismatch at the call.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace weir::http {
namespace {

using namespace test;

class QuietStream final : public reactor::Stream {
 public:
  void send(std::string_view bytes) override {
    sending_ = true;
    sent += bytes.size();
  }
  bool sending() const override { return sending_; }
  void pause_receiving() override {}
  void resume_receiving() override {}
  void shutdown_write() override {}
  void close() override {}
  void reset_on_close() override {}
  const reactor::PeerAddress& peer() const override { return peer_; }
  void complete(reactor::StreamHandler& handler) {
    if (!sending_) return;
    sending_ = false;
    handler.on_sent();
  }
  size_t sent = 0;

 private:
  bool sending_ = false;
  reactor::PeerAddress peer_;
};

class QuietHandler final : public Handler {
 public:
  HeadVerdict on_head(const Request&) override { return {}; }
  void on_request(Exchange& exchange) override {
    Response response;
    response.body = "{\"accepted\":1,\"duplicates\":0,\"rejected\":0,\"results\":[]}";
    response.extra_headers = "Weir-Ack: committed\r\n";
    exchange.respond(response);
  }
  bool allows_origin(const Request&, std::string_view) override { return true; }
};

size_t allocations_of(const std::string& request, int rounds) {
  FakeLoop loop;
  QuietHandler handler;
  MetricRegistry metrics;
  BodyBudget budget(1 << 20);
  auto server = Server::create({}, loop, handler, budget, metrics);
  EXPECT_TRUE(server.has_value());
  QuietStream stream;
  reactor::StreamHandler* const connection = (*server)->on_connection(stream);
  size_t during = 0;
  for (int round = 0; round < rounds + 5; ++round) {
    const size_t before = allocations;
    connection->on_data(request);
    (*server)->before_sleep();
    stream.complete(*connection);
    (*server)->before_sleep();
    if (round >= 5) during += allocations - before;
  }
  EXPECT_GT(stream.sent, static_cast<size_t>(rounds) * 100);
  connection->on_closed();
  return during;
}

TEST(Allocations, ARequestInSteadyStateCostsNone) {
  const std::string head =
      "POST /v1/events HTTP/1.1\r\nHost: collector.example:8080\r\n"
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: */*\r\n"
      "Content-Type: application/json\r\nOrigin: https://shop.example\r\n"
      "Authorization: Basic d3JpdGVLZXk6\r\n";
  const std::string body(400, 'x');
  const std::string post = head + "Content-Length: 400\r\n\r\n" + body;
  const std::string chunked =
      head + "Transfer-Encoding: chunked\r\n\r\n190\r\n" + body + "\r\n0\r\n\r\n";
  EXPECT_EQ(allocations_of(post, 100), 0u);
  EXPECT_EQ(allocations_of(chunked, 100), 0u);
  EXPECT_EQ(allocations_of(post + post + post, 100), 0u) << "pipelined";
  EXPECT_EQ(allocations_of("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 100), 0u);
}

}  // namespace
}  // namespace weir::http
