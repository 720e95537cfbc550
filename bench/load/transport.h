// How the load generator moves bytes: many client connections of one thread. Two implementations
// behind one interface: io_uring (cheapest per request) and epoll (where io_uring is denied, and
// TLS).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "bench/load/load_options.h"
#include "storage/base/result.h"

namespace weir::bench {

class TransportHandler {
 public:
  virtual ~TransportHandler() = default;
  virtual void on_connected(unsigned connection) = 0;
  virtual void on_data(unsigned connection, std::string_view bytes) = 0;
  virtual void on_sent(unsigned connection) = 0;  // what was given to send() left completely
  // The connection broke or was closed; it is closed on this side too.
  virtual void on_disconnected(unsigned connection, int os_errno) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual void connect(unsigned connection) = 0;  // connection: 0 … connections - 1
  // LIFETIME: bytes stay unchanged until on_sent() or on_disconnected(). One send at a time.
  virtual void send(unsigned connection, std::string_view bytes) = 0;
  // Waits for events until `until_ns` (monotonic) at the latest and calls the handler.
  virtual void poll(int64_t until_ns) = 0;
  virtual std::string_view name() const = 0;
};

Result<std::unique_ptr<Transport>> make_uring_transport(const LoadOptions& options,
                                                        unsigned connections,
                                                        TransportHandler& handler);
Result<std::unique_ptr<Transport>> make_epoll_transport(const LoadOptions& options,
                                                        unsigned connections,
                                                        TransportHandler& handler);
// By options.engine; "auto" takes io_uring where it is allowed and the URL is not https.
Result<std::unique_ptr<Transport>> make_transport(const LoadOptions& options, unsigned connections,
                                                  TransportHandler& handler);

// Connects are started non-blocking to this address, resolved once per run.
struct ResolvedAddress {
  alignas(8) unsigned char storage[128] = {};
  unsigned size = 0;
  int family = 0;
};
Result<ResolvedAddress> resolve(const Url& url);
// A non-blocking TCP socket with TCP_NODELAY.
Result<int> make_client_socket(const ResolvedAddress& address);

}  // namespace weir::bench
