// What the verbs share that are clients of a running server: where it is, and asking it.
// Thread: the main thread.
#pragma once

#include <string>

#include "collector/cli/http_client.h"
#include "collector/cli/verbs.h"

namespace weir::cli {

constexpr const char* kText = "text/plain";

struct ClientFlags {
  std::string server = "http://127.0.0.1:9090";

  void add_to(CLI::App& verb);
  HttpClient client() const;
};

// Sends and prints; the exit code. With answer the text is left as it is and handed over.
int ask(HttpClient& client, const HttpClient::Request& request, HttpAnswer* answer = nullptr);
// Sends without printing; a message on standard error and false when it was not answered with 2xx.
bool fetch(HttpClient& client, const HttpClient::Request& request, HttpAnswer* answer);

}  // namespace weir::cli
