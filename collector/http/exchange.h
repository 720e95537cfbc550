// One request and its answer, as the layers above HTTP see it.
// Path: hot (per request).  Thread: the loop's.
//
// Lifetime: an Exchange is lent to the Handler by on_request() until the handler answers it, in the
// same turn or much later. If the client goes away meanwhile the exchange stays valid
// (client_gone() turns true) and must still be answered; the answer is then dropped. Answers to
// pipelined requests leave in the order of the requests whatever order the handler answers in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

enum class Method : uint8_t { kGet, kHead, kPost, kPut, kDelete, kOptions, kPatch, kOther };

struct Header {
  std::string_view name;   // as received; compare with header_is()
  std::string_view value;  // without surrounding white space
};

// Memory charged to the body budget. OWNS the bytes; returns the charge when destroyed. At least
// kPadding readable bytes follow size() (for SIMD parsers).
class Body {
 public:
  static constexpr size_t kPadding = 64;
  Body() = default;
  Body(Body&& other) noexcept;
  Body& operator=(Body&& other) noexcept;
  ~Body();

  std::string_view view() const { return {data_, size_}; }
  char* data() { return data_; }
  size_t size() const { return size_; }

 private:
  friend class BodyBudget;
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  class BodyBudget* budget_ = nullptr;
};

struct Request {
  Method method = Method::kOther;
  std::string_view target;  // as sent: path and query
  std::string_view path;    // up to '?', percent-encoding untouched
  std::string_view query;   // after '?', may be empty
  uint8_t minor_version = 1;
  std::vector<Header> headers;
  std::string_view client_ip;  // after trusted proxies and PROXY protocol
  bool forwarding_header_present =
      false;  // Forwarded, X-Forwarded-For, X-Real-IP was sent, trusted or not
  Body body;  // decoded (gzip, deflate, zstd) and complete

  // Case-insensitive; empty when absent (has_header tells the difference).
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string_view content_type = "application/json";  // empty: no Content-Type
  // Ready header lines, each ended by \r\n, e.g. "Weir-Ack: committed\r\n".
  std::string_view extra_headers;
  std::string_view body;        // copied during respond()
  bool close = false;           // Connection: close after this answer
  int retry_after_seconds = 0;  // 0: no Retry-After
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual Request& request() = 0;
  virtual bool client_gone() const = 0;
  virtual int64_t received_ns() const = 0;  // monotonic, when the request was complete
  // Answers; exactly once. The exchange and its request are gone afterwards.
  virtual void respond(const Response& response) = 0;
  // For answers without end (server-sent events): sends the head now; then write_chunk until
  // it returns false (client gone), then finish(). Only on HTTP/1.1.
  virtual void begin_stream(const Response& head) = 0;
  virtual bool write_chunk(std::string_view bytes) = 0;
  // What the client has not taken yet. write_chunk() ends the stream of a reader that lets it grow
  // past connection.h's kMaxStreamBytes: who can leave pieces out looks here first.
  virtual size_t stream_backlog() const = 0;
  virtual void finish_stream() = 0;

  void* context = nullptr;  // the handler's
};

// The whole-request errors of Weir's own paths: status, stable code, what happened and what to do.
struct HttpError {
  int status = 400;
  std::string_view code;  // "invalid_json"
  std::string message;    // one sentence for a person
  int retry_after_seconds = 0;
  bool close = false;
};
// {"success":false,"code":…,"message":…,"detail":…,"error":…}
std::string error_body(std::string_view code, std::string_view message);

// What to do with a request whose head is complete, before its body is read.
struct HeadVerdict {
  bool accept = true;
  uint64_t max_body_bytes = 0;  // decoded; 0: the server's default
  HttpError error;  // when not accepted; the body is then discarded or the connection closed
};

class Handler {
 public:
  virtual ~Handler() = default;
  // request.body is empty here. Refusals that need no body (unknown path, no commit possible, no
  // budget) belong here, so that "Expect: 100-continue" clients need not send it.
  virtual HeadVerdict on_head(const Request& request) = 0;
  virtual void on_request(Exchange& exchange) = 0;  // lends exchange until respond()
  // The client of an exchange that is still lent has ended its side or is gone: nobody may want the
  // answer any more. It must be answered all the same, but not in this call. May come twice.
  virtual void on_client_gone(Exchange&) {}
  // Errors HTTP itself found (malformed head, timeouts, limits): the handler may shape the body for
  // the path's protocol. Default: error_body().
  virtual std::string shape_error(const Request& request, const HttpError& error);
  // The CORS policy for a path and origin. Null: this origin is not allowed.
  virtual bool allows_origin(const Request& request, std::string_view origin) = 0;
};

// Whether it is that name (letters, digits, hyphens) in any case.
bool header_is(std::string_view name, std::string_view lower_case_name);

}  // namespace weir::http
