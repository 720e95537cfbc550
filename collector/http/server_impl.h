// What the connections of one loop share: pools, parser, decoders, answer writer, metrics, and the
// list of connections with answers to send, which are gathered into one send per connection and
// turn.
// Path: hot.  Thread: the loop's.
//
// Invariants
//   1. An exchange is in exactly one place: the pool, or alive (read, decoded, lent, queued).
//   2. A connection is in live_ from on_connection() to on_closed(); what the handler still holds
//      after that outlives it, detached.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "collector/http/chunked_decoder.h"
#include "collector/http/content_decoder.h"
#include "collector/http/exchange_impl.h"
#include "collector/http/head_parser.h"
#include "collector/http/ip_ranges.h"
#include "collector/http/response_writer.h"
#include "collector/http/server.h"

namespace weir::http {

class Connection;

class ServerImpl final : public Server {
 public:
  ServerImpl(const ServerOptions& options, IpRanges trusted, reactor::Loop& loop, Handler& handler,
             BodyBudget& budget, MetricRegistry& metrics);
  ~ServerImpl() override;

  reactor::StreamHandler* on_connection(reactor::Stream& stream) override;
  void before_sleep() override;
  void drain() override;
  unsigned busy_exchanges() const override { return busy_; }
  uint64_t unsent_bytes() const override;
  void set_limits(const Limits& limits) override {
    options_.limits = limits;
    ++limits_version_;
  }

 private:
  friend class Connection;
  friend class ExchangeImpl;

  struct WorkTask : reactor::Task {
    explicit WorkTask(ServerImpl& owner) : server(owner) {}
    void run() override;
    ServerImpl& server;
  };

  ExchangeImpl* take_exchange(Connection& connection);
  void give_exchange(ExchangeImpl* exchange);
  std::string take_buffer();
  void give_buffer(std::string&& buffer);

  void forget(Connection& connection);

  // Decompression. True: the exchange is ready or refused now; false: it is queued.
  bool decode_now(ExchangeImpl& exchange, const Refusal*& refused);
  void decode_slice();
  DecodeLimits decode_limits(const ExchangeImpl& exchange) const;

  void count_refusal(const Refusal& refused);
  void count_limit(std::string_view limit);
  void count_error(std::string_view code);
  void count_answer(int status);  // answers HTTP gives itself

  ServerOptions options_;
  const IpRanges trusted_;
  reactor::Loop& loop_;
  Handler& handler_;
  BodyBudget& budget_;
  MetricRegistry& metrics_;
  HeadParser parser_;
  ContentDecoder decoder_;
  ResponseWriter writer_;
  WorkTask work_;

  ExchangeImpl* free_exchanges_ = nullptr;
  size_t free_exchange_count_ = 0;
  std::vector<std::string> free_buffers_;
  std::vector<Connection*> dirty_;
  std::vector<Connection*> resumed_;
  std::vector<Connection*> resuming_;
  ExchangeImpl* decode_front_ = nullptr;
  ExchangeImpl* decode_back_ = nullptr;
  bool decode_begun_ = false;
  Connection* live_ = nullptr;
  unsigned busy_ = 0;
  bool draining_ = false;
  uint32_t limits_version_ = 0;  // counts set_limits()

  Counter& headers_ignored_;
  Histogram& request_seconds_;
  std::map<std::string, Counter*, std::less<>> limit_counters_;
  std::map<std::string, Counter*, std::less<>> error_counters_;
  std::map<int, Counter*, std::less<>> status_counters_;
};

}  // namespace weir::http
