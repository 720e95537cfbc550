// A small HTTP/1.1 server of our own that misbehaves on request: one thread per connection, one
// handler that says what to answer and what to break. Plain or TLS. Loopback, free port.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace weir::forwarder::testing {

struct ServerRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string wire_body;                       // as it was sent
  std::string body;                            // after Content-Encoding
  unsigned connection = 0;                     // number of the connection it came on
};

struct ServerAnswer {
  int status = 200;
  std::string headers = {};  // whole lines with \r\n
  std::string body = "{}";
  int64_t delay_ms = 0;
  enum class Fault {
    kNone,
    kReset,         // RST instead of an answer
    kResetMidBody,  // head and half of the body, then RST
    kGarbage,       // bytes that are not HTTP
    kHang,          // never answers, until the client goes away or the server stops
    kEndless,       // a body without an end
  } fault = Fault::kNone;
};

class FaultyServer {
 public:
  using Handler = std::function<ServerAnswer(const ServerRequest&)>;
  struct Tls {
    std::string cert_file;
    std::string key_file;
  };
  // port 0: any free one. The handler is called by one connection at a time.
  explicit FaultyServer(Handler handler, const Tls* tls = nullptr, int port = 0);
  ~FaultyServer();  // closes every connection

  int port() const;
  std::string url(const std::string& path = "/in") const;
  std::vector<ServerRequest> requests() const;
  unsigned connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::forwarder::testing
