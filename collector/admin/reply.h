// An answer of the admin listener before it is sent.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace weir::admin {

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string headers;  // ready lines, each ended by \r\n
  std::string body;
  int retry_after_seconds = 0;
  std::string_view caching = "no-store";  // Cache-Control
};

Reply json_reply(std::string body);
Reply text_reply(std::string body);  // text/plain; charset=utf-8
// {"success":false,"code":…,"message":…} with the status.
Reply error_reply(int status, std::string_view code, std::string_view message);
// The status that fits an Error's code: 404, 409, 400, 503, 500.
Reply error_reply(const Error& error);

}  // namespace weir::admin
