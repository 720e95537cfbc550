// Requests to a running server's admin listener, one at a time.
// Thread: the main thread. The one file of this folder that includes libcurl.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace weir::cli {

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

class HttpClient {
 public:
  // token: sent as bearer; empty: none.
  HttpClient(std::string server, std::string token);
  ~HttpClient();

  struct Request {
    std::string method = "GET";
    std::string path;  // with query
    std::string body;
    std::string accept;  // empty: any
    // For an answer without an end: gets each line of a 200 as it comes, instead of body; false
    // ends it. Then there is no timeout.
    std::function<bool(std::string_view line)> on_line = nullptr;
  };
  // Errors only when there was no answer; they name the server.
  Result<HttpAnswer> send(const Request& request);

  static std::string escape(std::string_view text);  // for a query

 private:
  struct Curl;
  std::string server_;
  std::string token_;
  std::unique_ptr<Curl> curl_;
};

}  // namespace weir::cli
