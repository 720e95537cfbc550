#include "tests/collector/http/fixture.h"

#include <arpa/inet.h>

#include <cstring>

#include "collector/http/ip_ranges.h"

namespace weir::http::test {

FakeStream::FakeStream(FakeLoop& loop, std::string_view peer_ip) : loop_(loop) {
  IpAddress address;
  EXPECT_TRUE(IpAddress::parse(peer_ip, address));
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    std::memcpy(&v4.sin_addr, address.bytes.data() + 12, 4);
    std::memcpy(&peer_.storage, &v4, sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    std::memcpy(&v6.sin6_addr, address.bytes.data(), 16);
    std::memcpy(&peer_.storage, &v6, sizeof v6);
  }
  loop_.streams_.push_back(this);
}

FakeStream::~FakeStream() { std::erase(loop_.streams_, this); }

void FakeStream::turn() {
  if (closed) return;
  if (closing_) {
    closed = true;
    sending_ = false;
    if (handler != nullptr) handler->on_closed();
    return;
  }
  if (sending_ && reads) {
    output += in_flight_;
    in_flight_ = {};
    sending_ = false;
    handler->on_sent();
  }
}

void FakeLoop::turn() {
  for (FakeStream* stream : std::vector<FakeStream*>(streams_)) stream->turn();
  std::vector<reactor::Task*> tasks;
  tasks.swap(tasks_);
  for (reactor::Task* task : tasks) task->run();
  for (reactor::TurnHook* hook : hooks_) hook->before_sleep();
}

bool FakeLoop::busy() const {
  return !tasks_.empty() || std::any_of(streams_.begin(), streams_.end(), [](FakeStream* stream) {
    return (stream->closing_ && !stream->closed) || (stream->sending_ && stream->reads);
  });
}

void FakeLoop::settle() {
  turn();
  for (int i = 0; busy() && i < 100'000; ++i) turn();
}

void FakeLoop::advance_ms(int64_t ms) {
  const int64_t until = now_ + ms * 1'000'000;
  for (;;) {
    auto next = std::min_element(timers_.begin(), timers_.end(),
                                 [](auto& a, auto& b) { return a.second < b.second; });
    if (next == timers_.end() || next->second > until) break;
    now_ = std::max(now_, next->second);
    reactor::Timer* const timer = next->first;
    timers_.erase(next);
    timer->on_timer();
    settle();
  }
  now_ = until;
  settle();
}

ServerOptions production_options() {
  ServerOptions options;
  options.limits.request_line_bytes = 16 << 10;
  options.limits.header_bytes = 32 << 10;
  options.limits.header_count = 100;
  options.limits.body_bytes = 4 << 20;
  options.limits.decoded_body_bytes = 16 << 20;
  options.limits.pipelined_requests = 64;
  return options;
}

Harness::Harness(ServerOptions options, uint64_t budget_bytes) : budget(budget_bytes) {
  auto created = Server::create(options, loop, handler, budget, metrics);
  EXPECT_TRUE(created.has_value());
  server = std::move(*created);
}

Harness::~Harness() {
  for (auto& stream : streams)
    if (!stream->closed && stream->handler != nullptr) stream->handler->on_error(ECONNRESET);
  loop.settle();
  EXPECT_EQ(server->busy_exchanges(), handler.lent.size());
  for (Exchange* exchange : handler.lent) exchange->respond({});
  handler.lent.clear();
  for (auto& stream : streams) EXPECT_TRUE(stream->closed || stream->handler == nullptr);
  EXPECT_EQ(loop.armed_timers(), 0u);
  server.reset();
  EXPECT_EQ(budget.used(), 0u) << "a body leaked its charge";
}

FakeStream& Harness::connect(std::string_view peer_ip) {
  streams.push_back(std::make_unique<FakeStream>(loop, peer_ip));
  streams.back()->handler = server->on_connection(*streams.back());
  return *streams.back();
}

void Harness::send(FakeStream& stream, std::string_view bytes) {
  if (stream.closing()) return;
  // Exactly as large as the bytes, so that the address sanitizer sees a read past the buffer.
  const auto buffer = std::make_unique<char[]>(bytes.size());
  std::memcpy(buffer.get(), bytes.data(), bytes.size());
  stream.handler->on_data({buffer.get(), bytes.size()});
  std::memset(buffer.get(), 0x55, bytes.size());  // the provided buffer goes back to the kernel
  loop.settle();
}

void Harness::send_in_pieces(FakeStream& stream, std::string_view bytes, size_t piece) {
  for (size_t at = 0; at < bytes.size(); at += piece) send(stream, bytes.substr(at, piece));
}

void Harness::eof(FakeStream& stream) {
  if (!stream.closing()) stream.handler->on_eof();
  loop.settle();
}

void Harness::reset(FakeStream& stream) {
  if (!stream.closing()) stream.handler->on_error(ECONNRESET);
  loop.settle();
}

std::string Harness::ask(std::string_view request, size_t piece) {
  FakeStream& stream = connect();
  if (piece == 0)
    send(stream, request);
  else
    send_in_pieces(stream, request, piece);
  return stream.output;
}

double Harness::metric(Metric metric, std::vector<std::string> labels) const {
  for (const auto& series : metrics.collect())
    if (series.metric == metric && series.label_values == labels) return series.value;
  return 0;
}

int status_of(std::string_view answer) {
  if (answer.substr(0, 9) != "HTTP/1.1 " || answer.size() < 12) return 0;
  return (answer[9] - '0') * 100 + (answer[10] - '0') * 10 + (answer[11] - '0');
}

std::string header_of(std::string_view answer, std::string_view name) {
  const size_t end = answer.find("\r\n\r\n");
  const std::string key = "\r\n" + std::string(name) + ": ";
  const size_t at = answer.substr(0, end + 2).find(key);
  if (at == std::string_view::npos) return "<none>";
  const size_t from = at + key.size();
  return std::string(answer.substr(from, answer.find("\r\n", from) - from));
}

std::string body_of(std::string_view answer) {
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? "" : std::string(answer.substr(end + 4));
}

size_t count_of(std::string_view text, std::string_view piece) {
  size_t count = 0;
  for (size_t at = text.find(piece); at != std::string_view::npos;
       at = text.find(piece, at + piece.size()))
    ++count;
  return count;
}

}  // namespace weir::http::test
