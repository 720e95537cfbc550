// Renders answers as bytes. One per loop: it keeps the head of the commonest answer, "200
// application/json", ready and renews its Date once a second.
// Path: hot (per answer).  Thread: the loop's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "collector/http/exchange.h"

namespace weir::http {

// How an answer is framed, from the request it belongs to.
struct AnswerFraming {
  bool head_only = false;            // HEAD: headers as if, no body
  bool close = false;                // Connection: close
  bool announce_keep_alive = false;  // HTTP/1.0 needs to be told
  bool chunked = false;              // a stream: Transfer-Encoding instead of Content-Length
  bool until_close = false;          // a stream to an HTTP/1.0 client: neither
  std::string_view cors_origin;      // echoed; empty: no CORS headers
};

class ResponseWriter {
 public:
  explicit ResponseWriter(std::string server_header);

  void append(std::string& out, const Response& response, const AnswerFraming& framing,
              int64_t wall_ms);

  static std::string_view reason_phrase(int status);

 private:
  void renew(int64_t wall_seconds);

  std::string server_header_;
  int64_t rendered_second_ = -1;
  std::string date_and_server_;  // "Date: …\r\n[Server: …\r\n]"
  std::string ok_json_;          // status line, date, server, type, "Content-Length: "
};

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7).
std::string format_http_date(int64_t wall_seconds);

void append_decimal(std::string& out, uint64_t value);
// One chunk of a chunked body; bytes must not be empty, since an empty chunk ends the body.
void append_chunk(std::string& out, std::string_view bytes);
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

}  // namespace weir::http
