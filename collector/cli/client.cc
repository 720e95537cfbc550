#include "collector/cli/client.h"

#include <cstdlib>

namespace weir::cli {

void ClientFlags::add_to(CLI::App& verb) {
  verb.add_option("--server", server, "Admin listener of the running server")
      ->envname("WEIR_SERVER")
      ->capture_default_str()
      ->type_name("URL");
  verb.footer("Where the admin listener has tokens, put yours into WEIR_TOKEN.");
}

HttpClient ClientFlags::client() const {
  const char* token = std::getenv("WEIR_TOKEN");
  return HttpClient(server, token == nullptr ? "" : token);
}

bool fetch(HttpClient& client, const HttpClient::Request& request, HttpAnswer* answer) {
  auto sent = client.send(request);
  if (!sent) {
    complain(sent.error().message);
    return false;
  }
  if (sent->status / 100 != 2) {
    std::string message = fmt::format("the server answers {}: {}", sent->status, sent->body);
    if (sent->status == 401) message += "; put a token into WEIR_TOKEN";
    complain(message);
    return false;
  }
  *answer = std::move(*sent);
  return true;
}

int ask(HttpClient& client, const HttpClient::Request& request, HttpAnswer* answer) {
  HttpAnswer got;
  if (!fetch(client, request, &got)) return kFailed;
  if (answer == nullptr && !got.body.empty() && got.body.back() != '\n') got.body.push_back('\n');
  if (!print(got.body)) return kFailed;
  if (answer != nullptr) *answer = std::move(got);
  return kDone;
}

}  // namespace weir::cli
