#include "collector/cli/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>

namespace weir::cli {
namespace {

constexpr long kConnectTimeoutSeconds = 5;
constexpr long kTimeoutSeconds = 120;  // an exact count of a large store may take long

struct Body {
  CURL* easy = nullptr;
  std::string* text = nullptr;  // the whole of it, or what is left of the last line
  const std::function<bool(std::string_view)>* on_line = nullptr;
  bool ended = false;  // by on_line
};

size_t on_body(char* data, size_t size, size_t count, void* to) {
  auto& body = *static_cast<Body*>(to);
  body.text->append(data, size * count);
  long status = 0;
  curl_easy_getinfo(body.easy, CURLINFO_RESPONSE_CODE, &status);
  if (*body.on_line == nullptr || status != 200) return size * count;
  size_t from = 0;
  for (size_t end = 0; (end = body.text->find('\n', from)) != std::string::npos; from = end + 1) {
    std::string_view line = std::string_view(*body.text).substr(from, end - from);
    if (line.ends_with('\r')) line.remove_suffix(1);
    body.ended = body.ended || !(*body.on_line)(line);
    if (body.ended) return 0;
  }
  body.text->erase(0, from);
  return size * count;
}

size_t on_header(char* data, size_t size, size_t count, void* to) {
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n')) value.remove_suffix(1);
    (*static_cast<std::map<std::string, std::string>*>(to))[name] = value;
  }
  return size * count;
}

}  // namespace

struct HttpClient::Curl {
  CURL* easy = curl_easy_init();
  curl_slist* headers = nullptr;
  ~Curl() {
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
  }
};

HttpClient::HttpClient(std::string server, std::string token)
    : server_(std::move(server)), token_(std::move(token)), curl_(std::make_unique<Curl>()) {
  while (server_.ends_with('/')) server_.pop_back();
  if (server_.find("://") == std::string::npos) server_ = "http://" + server_;
}

HttpClient::~HttpClient() = default;

std::string HttpClient::escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.')
      out.push_back(c);
    else
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return out;
}

Result<HttpAnswer> HttpClient::send(const Request& request) {
  CURL* const easy = curl_->easy;
  if (easy == nullptr) return fail(ErrorCode::kInternal, "libcurl cannot be set up");
  HttpAnswer answer;
  Body body{easy, &answer.body, &request.on_line};
  curl_easy_reset(easy);
  curl_slist_free_all(curl_->headers);
  curl_->headers = nullptr;
  const auto header = [&](const std::string& line) {
    curl_->headers = curl_slist_append(curl_->headers, line.c_str());
  };
  if (!token_.empty()) header("Authorization: Bearer " + token_);
  if (!request.accept.empty()) header("Accept: " + request.accept);
  header("Expect:");
  const std::string url = server_ + request.path;
  char reason[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, curl_->headers);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutSeconds);
  if (request.on_line == nullptr) curl_easy_setopt(easy, CURLOPT_TIMEOUT, kTimeoutSeconds);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  // The admin listener is local or named on purpose: no proxy in between.
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &answer.headers);
  if (request.method != "GET") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.c_str());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  const CURLcode code = curl_easy_perform(easy);
  if (code != CURLE_OK && !body.ended)
    return fail(ErrorCode::kUnavailable,
                "no answer from {}: {}; is the server running? --server URL names another one",
                server_, reason[0] != '\0' ? reason : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  return answer;
}

}  // namespace weir::cli
