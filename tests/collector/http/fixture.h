// A loop and streams in memory: HTTP runs on them byte for byte as on sockets, with a clock that
// tests move. Handler answers are scripted by path.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "collector/http/server.h"

namespace weir::http::test {

class FakeStream;

class FakeLoop : public reactor::Loop {
 public:
  void run() override {}
  void stop() override {}
  Result<reactor::Listener*> listen(const reactor::ListenerOptions&,
                                    reactor::ConnectionFactory&) override {
    return fail(ErrorCode::kInternal, "no listeners in memory");
  }
  void defer(reactor::Task& task) override {
    if (std::find(tasks_.begin(), tasks_.end(), &task) == tasks_.end()) tasks_.push_back(&task);
  }
  void arm(reactor::Timer& timer, int64_t delay_ns) override { timers_[&timer] = now_ + delay_ns; }
  void cancel(reactor::Timer& timer) override { timers_.erase(&timer); }
  void add_turn_hook(reactor::TurnHook& hook) override { hooks_.push_back(&hook); }
  Wakeup& wakeup() override { return wakeup_; }
  void on_wakeup(std::function<void()>) override {}
  int64_t now_ns() const override { return now_; }
  int64_t wall_ms() const override { return 1'700'000'000'000 + now_ / 1'000'000; }

  void turn();
  // Turns until nothing happens any more.
  void settle();
  void advance_ms(int64_t ms);
  size_t armed_timers() const { return timers_.size(); }

 private:
  friend class FakeStream;
  bool busy() const;

  int64_t now_ = 1;
  Wakeup wakeup_;
  std::vector<reactor::Task*> tasks_;
  std::map<reactor::Timer*, int64_t> timers_;
  std::vector<reactor::TurnHook*> hooks_;
  std::vector<FakeStream*> streams_;
};

class FakeStream : public reactor::Stream {
 public:
  FakeStream(FakeLoop& loop, std::string_view peer_ip);
  ~FakeStream() override;

  void send(std::string_view bytes) override {
    EXPECT_FALSE(sending_) << "two sends at once";
    EXPECT_FALSE(closing_) << "send after close";
    EXPECT_FALSE(bytes.empty());
    sending_ = true;
    in_flight_ = bytes;
    ++sends;
  }
  bool sending() const override { return sending_; }
  void pause_receiving() override { paused = true; }
  void resume_receiving() override { paused = false; }
  void shutdown_write() override { write_shut = true; }
  void close() override { closing_ = true; }
  void reset_on_close() override { reset = true; }
  const reactor::PeerAddress& peer() const override { return peer_; }

  bool closing() const { return closing_; }
  void turn();

  reactor::StreamHandler* handler = nullptr;
  std::string output;
  int sends = 0;
  bool paused = false;
  bool write_shut = false;
  bool reset = false;
  bool closed = false;  // on_closed() was delivered
  bool reads = true;    // false: the client reads nothing, sends stay in flight

 private:
  friend class FakeLoop;
  FakeLoop& loop_;
  reactor::PeerAddress peer_;
  std::string_view in_flight_;
  bool sending_ = false;
  bool closing_ = false;
};

// What reached the handler, and how it answers.
class ScriptedHandler : public Handler {
 public:
  struct Seen {
    Method method;
    std::string target, path, query, body, client_ip;
    std::vector<std::pair<std::string, std::string>> headers;
    bool forwarding_header_present;
  };

  HeadVerdict on_head(const Request& request) override {
    ++heads;
    if (request.path == "/refused") {
      HeadVerdict verdict;
      verdict.accept = false;
      verdict.error = HttpError{401, "unknown_key", "The key is not known", 0, false};
      return verdict;
    }
    HeadVerdict verdict;
    if (request.path == "/tiny") verdict.max_body_bytes = 10;
    return verdict;
  }

  void on_request(Exchange& exchange) override {
    const Request& request = exchange.request();
    Seen one{request.method,
             std::string(request.target),
             std::string(request.path),
             std::string(request.query),
             std::string(request.body.view()),
             std::string(request.client_ip),
             {},
             request.forwarding_header_present};
    for (const Header& header : request.headers)
      one.headers.emplace_back(header.name, header.value);
    seen.push_back(std::move(one));
    if (request.path == "/later") {
      lent.push_back(&exchange);
      return;
    }
    if (on_any) return on_any(exchange);
    Response response;
    response.body = "{\"ok\":true}";
    if (request.path == "/echo") response.body = request.body.view();
    exchange.respond(response);
  }

  void on_client_gone(Exchange& exchange) override { gone.insert(&exchange); }

  bool allows_origin(const Request&, std::string_view origin) override {
    return origin != "https://evil.example";
  }

  std::vector<Seen> seen;
  std::vector<Exchange*> lent;
  std::set<Exchange*> gone;
  std::function<void(Exchange&)> on_any;
  int heads = 0;
};

// The production limits, also where the build has tiny defaults: the tests name their sizes.
ServerOptions production_options();

// A server with its loop and any number of clients.
class Harness {
 public:
  explicit Harness(ServerOptions options = production_options(), uint64_t budget_bytes = 64 << 20);
  ~Harness();

  FakeStream& connect(std::string_view peer_ip = "203.0.113.9");
  // Delivers bytes as one piece and lets the loop settle.
  void send(FakeStream& stream, std::string_view bytes);
  void send_in_pieces(FakeStream& stream, std::string_view bytes, size_t piece);
  void eof(FakeStream& stream);
  void reset(FakeStream& stream);  // the peer's RST
  // A fresh connection: everything is sent, everything that came back is returned.
  std::string ask(std::string_view request, size_t piece = 0);
  double metric(Metric metric, std::vector<std::string> labels) const;
  double limit_hits(const std::string& limit) const { return metric(Metric::kHttpLimits, {limit}); }

  FakeLoop loop;
  ScriptedHandler handler;
  MetricRegistry metrics;
  BodyBudget budget;
  std::unique_ptr<Server> server;
  std::vector<std::unique_ptr<FakeStream>> streams;
};

int status_of(std::string_view answer);
std::string header_of(std::string_view answer, std::string_view name);
std::string body_of(std::string_view answer);
size_t count_of(std::string_view text, std::string_view piece);

}  // namespace weir::http::test
