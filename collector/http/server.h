// Turns byte streams into exchanges: one Connection per stream, HTTP/1.1 (RFC 9112) strictly.
// Anything ambiguous in the framing is refused and the connection closed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collector/http/exchange.h"
#include "collector/reactor/loop.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"

namespace weir::http {

#ifdef WEIR_TINY_LIMITS  // so small that tests meet every boundary
inline constexpr uint32_t kDefaultRequestLineBytes = 2 << 10;
inline constexpr uint32_t kDefaultHeaderBytes = 4 << 10;
inline constexpr uint32_t kDefaultHeaderCount = 40;
inline constexpr uint64_t kDefaultBodyBytes = 64 << 10;
inline constexpr uint64_t kDefaultDecodedBodyBytes = 256 << 10;
inline constexpr uint64_t kDefaultBodyMemoryBytes = 4 << 20;
inline constexpr uint32_t kDefaultPipelinedRequests = 4;
#else
inline constexpr uint32_t kDefaultRequestLineBytes = 16 << 10;
inline constexpr uint32_t kDefaultHeaderBytes = 32 << 10;
inline constexpr uint32_t kDefaultHeaderCount = 100;
inline constexpr uint64_t kDefaultBodyBytes = 4 << 20;
inline constexpr uint64_t kDefaultDecodedBodyBytes = 16 << 20;
inline constexpr uint64_t kDefaultBodyMemoryBytes = 256ull << 20;
inline constexpr uint32_t kDefaultPipelinedRequests = 64;
#endif
static_assert(kDefaultRequestLineBytes < kDefaultHeaderBytes);
static_assert(kDefaultBodyBytes <= kDefaultDecodedBodyBytes);
static_assert(kDefaultDecodedBodyBytes < kDefaultBodyMemoryBytes, "one body must fit");

// Every limit has an option, a metric (weir_http_limit_hits_total{limit=…}), an error body, a test.
struct Limits {
  uint32_t request_line_bytes = kDefaultRequestLineBytes;  // 414
  uint32_t header_bytes = kDefaultHeaderBytes;             // whole head; 431
  uint32_t header_count = kDefaultHeaderCount;             // 431
  uint64_t body_bytes = kDefaultBodyBytes;                 // as sent; 413
  uint64_t decoded_body_bytes = kDefaultDecodedBodyBytes;  // after decompression; 413
  uint32_t expansion_ratio = 200;                          // decoded / sent, past 64 KiB; 413
  uint64_t body_memory_bytes = kDefaultBodyMemoryBytes;    // all bodies of the process; 503
  int64_t first_byte_ms = 10'000;  // from accept to the first byte; closed silently
  int64_t head_ms = 10'000;        // from a head's first byte to its last; 408
  int64_t body_gap_ms = 10'000;    // between two bytes of a body; 408
  int64_t body_ms = 60'000;        // a whole body; 408
  int64_t idle_ms = 75'000;        // keep-alive between requests; closed silently
  int64_t send_stall_ms = 30'000;  // the client reads nothing; reset
  uint32_t pipelined_requests =
      kDefaultPipelinedRequests;         // unanswered at once; then reading pauses
  uint32_t requests_per_connection = 0;  // 0: unlimited
};

// PROXY protocol (haproxy.org/download/2.9/doc/proxy-protocol.txt): required means that every
// connection from a trusted proxy must begin with a v1 or v2 header.
struct ProxyOptions {
  bool proxy_protocol = false;
  std::vector<std::string> trusted;  // CIDR ranges: "10.0.0.0/8", "::1/128"
};

// The byte budget bodies are charged to; shared by all loops of the process.
class BodyBudget {
 public:
  explicit BodyBudget(uint64_t limit_bytes) : limit_(limit_bytes) {}
  // Null data when the budget is exhausted. THREAD: any; one relaxed add.
  bool reserve(Body& body, size_t capacity);
  bool grow(Body& body, size_t capacity);  // keeps the contents
  // REQUIRES: size <= capacity(body). Zeroes the padding behind it.
  static void set_size(Body& body, size_t size);
  static size_t capacity(const Body& body) { return body.capacity_; }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  void set_limit(uint64_t bytes) { limit_.store(bytes, std::memory_order_relaxed); }  // any thread
  void release(Body& body);
  // Used and limit as gauges. Once per process. LIFETIME: the budget outlives the registry's use.
  void export_metrics(MetricRegistry& metrics);

 private:
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> limit_;
};

struct ServerOptions {
  Limits limits;
  ProxyOptions proxy;
  std::string server_header;  // value of "Server:"; empty: none
};

// One per loop. LIFETIME: outlives the loop's run().
class Server : public reactor::ConnectionFactory, public reactor::TurnHook {
 public:
  static Result<std::unique_ptr<Server>> create(const ServerOptions& options, reactor::Loop& loop,
                                                Handler& handler, BodyBudget& budget,
                                                MetricRegistry& metrics);
  // Stops keep-alive: idle connections close now, busy ones after their answer.
  virtual void drain() = 0;
  virtual unsigned busy_exchanges() const = 0;  // lent to the handler and unanswered
  // Bytes of answers that have not left yet. Cold: looks at every connection.
  virtual uint64_t unsent_bytes() const = 0;
  // Hot reload: counts from the next head, body or wait on. THREAD: the loop's.
  virtual void set_limits(const Limits& limits) = 0;
};

}  // namespace weir::http
