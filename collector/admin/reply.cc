#include "collector/admin/reply.h"

#include "collector/http/exchange.h"

namespace weir::admin {

Reply json_reply(std::string body) {
  Reply reply;
  reply.body = std::move(body);
  return reply;
}

Reply text_reply(std::string body) {
  Reply reply;
  reply.content_type = "text/plain; charset=utf-8";
  reply.body = std::move(body);
  return reply;
}

Reply error_reply(int status, std::string_view code, std::string_view message) {
  Reply reply;
  reply.status = status;
  reply.body = http::error_body(code, message);
  if (status == 503) reply.retry_after_seconds = 1;
  if (status == 401) reply.headers = "WWW-Authenticate: Bearer\r\n";
  return reply;
}

Reply error_reply(const Error& error) {
  int status = 500;
  if (error.code == ErrorCode::kNotFound) status = 404;
  if (error.code == ErrorCode::kInvalidArgument) status = 400;
  if (error.code == ErrorCode::kAlreadyExists || error.code == ErrorCode::kBusy) status = 409;
  if (error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimeout ||
      error.code == ErrorCode::kNoSpace || error.code == ErrorCode::kLimit)
    status = 503;
  return error_reply(status, error_code_name(error.code), error.message);
}

}  // namespace weir::admin
