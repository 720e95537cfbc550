// HTTP requests for destinations: libcurl's multi interface behind an epoll set of our own, so that
// the forwarder waits for any number of destinations at once. The only place that includes curl.
// Path: warm (per batch).  Thread: the forwarder's; curl resolves names on threads of its own.
//
// Invariants
//   1. A request that was started comes back through take_finished() exactly once, unless abandon()
//      was called.
//   2. Redirects are never followed (a POST with a signature and credentials does not go to an
//      address nobody configured); answers are read up to a bound and kept up to a smaller one.
//   3. Nothing blocks, whatever the resolver does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "forwarder/forwarder.h"
#include "forwarder/retry_policy.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace weir::forwarder {

// LIFETIME: lent from start() until it comes back.
struct HttpRequest {
  std::string url;
  std::vector<std::string> headers;  // whole lines without their end
  std::string_view body;
  void* context = nullptr;  // the owner's

  // Of the answer, written before it comes back.
  int status = 0;     // 0: none that can be relied on
  std::string error;  // empty: the answer is whole
  std::string retry_after;
  std::string location;
  std::string snippet;  // how the body begins
  int64_t duration_ns = 0;
  HttpRequest* next = nullptr;

  HttpAnswer answer() const { return {status, error, retry_after, location, snippet}; }
};

class HttpClient {
 public:
  // Timeouts, TLS and the number of connections come from the options.
  // Errors: no descriptor, no memory, a TLS file that cannot be read.
  // LIFETIME: options and clock outlive the client.
  static Result<std::unique_ptr<HttpClient>> make(const DestinationOptions& options,
                                                  const Clock& clock);
  virtual ~HttpClient() = default;
  virtual void start(HttpRequest& request) = 0;
  virtual HttpRequest* take_finished() = 0;  // linked by next, or null
  virtual void abandon() = 0;                // ends every request; none comes back
  virtual int poll_fd() const = 0;
  virtual int64_t deadline_ns() const = 0;
};

}  // namespace weir::forwarder
