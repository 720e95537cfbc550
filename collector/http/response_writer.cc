#include "collector/http/response_writer.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>

#include "collector/http/cors.h"

namespace weir::http {
namespace {

bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

}  // namespace

std::string_view ResponseWriter::reason_phrase(int status) {
  switch (status) {
    // clang-format off
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Unassigned";
      // clang-format on
  }
}

ResponseWriter::ResponseWriter(std::string server_header)
    : server_header_(std::move(server_header)) {}

void ResponseWriter::renew(int64_t wall_seconds) {
  rendered_second_ = wall_seconds;
  date_and_server_ = "Date: " + format_http_date(wall_seconds) + "\r\n";
  if (!server_header_.empty()) date_and_server_ += "Server: " + server_header_ + "\r\n";
  ok_json_ = "HTTP/1.1 200 OK\r\n" + date_and_server_ +
             "Content-Type: application/json\r\nContent-Length: ";
}

void ResponseWriter::append(std::string& out, const Response& response,
                            const AnswerFraming& framing, int64_t wall_ms) {
  if (wall_ms / 1000 != rendered_second_) renew(wall_ms / 1000);
  const bool stream = framing.chunked || framing.until_close;
  const bool no_body = has_no_body(response.status);
  if (response.status == 200 && response.content_type == "application/json" && !stream) {
    out += ok_json_;
    append_decimal(out, response.body.size());
  } else {
    out += "HTTP/1.1 ";
    append_decimal(out, static_cast<uint64_t>(response.status));
    out += ' ';
    out += reason_phrase(response.status);
    out += "\r\n";
    out += date_and_server_;
    if (!response.content_type.empty() && !no_body) {
      out += "Content-Type: ";
      out += response.content_type;
      out += "\r\n";
    }
    if (framing.chunked) {
      out += "Transfer-Encoding: chunked";
    } else if (stream) {
      out += "Cache-Control: no-store";
    } else if (!no_body) {
      out += "Content-Length: ";
      append_decimal(out, response.body.size());
    }
    if (no_body && !stream) out.resize(out.size() - 2);  // the line end below belongs to the date
  }
  out += "\r\n";
  if (framing.close)
    out += "Connection: close\r\n";
  else if (framing.announce_keep_alive)
    out += "Connection: keep-alive\r\n";
  if (response.retry_after_seconds > 0) {
    out += "Retry-After: ";
    append_decimal(out, static_cast<uint64_t>(response.retry_after_seconds));
    out += "\r\n";
  }
  if (!framing.cors_origin.empty()) append_cors_headers(out, framing.cors_origin);
  out += response.extra_headers;
  out += "\r\n";
  if (!framing.head_only && !no_body && !stream) out += response.body;
}

std::string format_http_date(int64_t wall_seconds) {
  const time_t seconds = wall_seconds;
  tm parts{};
  gmtime_r(&seconds, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday],
                     parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                     parts.tm_min, parts.tm_sec);
}

void append_decimal(std::string& out, uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

void append_chunk(std::string& out, std::string_view bytes) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, bytes.size(), 16).ptr;
  out.append(digits, end);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
}

}  // namespace weir::http
