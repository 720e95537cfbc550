#include "forwarder/destinations/http.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>
#include <utility>
#include <vector>

#include "forwarder/compression.h"
#include "forwarder/encoder.h"
#include "forwarder/limits.h"
#include "forwarder/retry_policy.h"
#include "forwarder/signature.h"
#include "storage/base/check.h"

namespace weir::forwarder {
namespace {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

void append_header(HeaderList& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  WEIR_CHECK(longer != nullptr, "no memory for a header line");
  list.release();
  list.reset(longer);
}

// One request on its way. Reused, with its curl handle: the handle's settings stay.
struct Request {
  std::unique_ptr<CURL, FreeEasy> easy;
  HeaderList headers;
  Send* send = nullptr;
  int64_t started_ns = 0;
  char error[CURL_ERROR_SIZE] = {};

  // Of the answer.
  std::string retry_after;
  std::string location;
  std::string snippet;
  size_t body_bytes = 0;
  size_t header_bytes = 0;
  bool cut = false;  // we stopped reading: the answer met its bound

  void reset_answer() {
    error[0] = 0;
    retry_after.clear();
    location.clear();
    snippet.clear();
    body_bytes = header_bytes = 0;
    cut = false;
  }
};

bool starts_with_ignoring_case(std::string_view text, std::string_view lower_prefix) {
  if (text.size() < lower_prefix.size()) return false;
  for (size_t i = 0; i < lower_prefix.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower_prefix[i]) return false;
  }
  return true;
}

void keep_header_value(std::string_view line, std::string_view name, std::string* value) {
  if (!starts_with_ignoring_case(line, name)) return;
  line.remove_prefix(name.size());
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n' || line.back() == ' '))
    line.remove_suffix(1);
  value->assign(line.substr(0, kMaxSnippetBytes));
}

extern "C" size_t weir_on_header(char* data, size_t size, size_t count, void* context) {
  auto& request = *static_cast<Request*>(context);
  const std::string_view line(data, size * count);
  if (starts_with_ignoring_case(line, "http/")) {  // a new answer: 100 Continue came before it
    request.retry_after.clear();
    request.location.clear();
  }
  keep_header_value(line, "retry-after:", &request.retry_after);
  keep_header_value(line, "location:", &request.location);
  request.header_bytes += line.size();
  if (request.header_bytes <= kMaxAnswerHeaderBytes) return line.size();
  request.cut = true;
  return 0;
}

extern "C" size_t weir_on_body(char* data, size_t size, size_t count, void* context) {
  auto& request = *static_cast<Request*>(context);
  const std::string_view bytes(data, size * count);
  if (request.snippet.size() < kMaxSnippetBytes)
    request.snippet += bytes.substr(0, kMaxSnippetBytes - request.snippet.size());
  request.body_bytes += bytes.size();
  if (request.body_bytes <= kMaxAnswerBytes) return bytes.size();
  request.cut = true;
  return 0;
}

class HttpDestination : public Destination {
 public:
  HttpDestination(const DestinationOptions& options, HttpIdentity identity, const Clock& clock)
      : options_(options), identity_(std::move(identity)), clock_(clock) {}

  ~HttpDestination() override {
    abandon();
    idle_.clear();
    multi_.reset();  // before the epoll set: curl still removes its sockets from it
    if (epoll_ >= 0) close(epoll_);
  }

  Status open() {
    auto compressor = Compressor::make(options_.compression);
    if (!compressor) return tl::unexpected(compressor.error());
    compressor_ = std::move(*compressor);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return fail_errno(errno, "no epoll set for destination {}", options_.name);
    multi_.reset(curl_multi_init());
    if (!multi_) return fail(ErrorCode::kLimit, "libcurl has no memory for {}", options_.name);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &HttpDestination::on_socket);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &HttpDestination::on_timer);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options_.concurrency));
    return check_options();
  }

  std::unique_ptr<Encoder> make_encoder() override {
    return std::make_unique<JsonEncoder>(options_.format, identity_.node, identity_.store_id,
                                         *compressor_);
  }

  void send(Send& send) override {
    std::unique_ptr<Request> request = take_request();
    request->reset_answer();
    request->send = &send;
    request->started_ns = clock_.monotonic_ns();
    set_headers(*request);
    CURL* easy = request->easy.get();
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, send.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(send.body.size()));
    const CURLMcode added = curl_multi_add_handle(multi_.get(), easy);
    WEIR_CHECK(added == CURLM_OK, "curl_multi_add_handle: {}", curl_multi_strerror(added));
    busy_.push_back(std::move(request));
  }

  Send* take_finished() override {
    epoll_event events[64];
    const int ready = epoll_wait(epoll_, events, 64, 0);
    int running = 0;
    for (int i = 0; i < ready; ++i) {
      int flags = 0;
      if ((events[i].events & (EPOLLIN | EPOLLPRI)) != 0) flags |= CURL_CSELECT_IN;
      if ((events[i].events & EPOLLOUT) != 0) flags |= CURL_CSELECT_OUT;
      if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0) flags |= CURL_CSELECT_ERR;
      curl_multi_socket_action(multi_.get(), events[i].data.fd, flags, &running);
    }
    if (clock_.monotonic_ns() >= timer_ns_) {
      timer_ns_ = INT64_MAX;  // curl sets the next one from inside the call
      curl_multi_socket_action(multi_.get(), CURL_SOCKET_TIMEOUT, 0, &running);
    }
    Send* first = nullptr;
    Send** last = &first;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      Send* send = finish(message->easy_handle, message->data.result);
      *last = send;
      last = &send->next;
    }
    *last = nullptr;
    return first;
  }

  void abandon() override {
    for (std::unique_ptr<Request>& request : busy_)
      curl_multi_remove_handle(multi_.get(), request->easy.get());
    busy_.clear();
  }

  int poll_fd() const override { return epoll_; }
  int64_t deadline_ns() const override { return timer_ns_; }

 private:
  // curl says which of its sockets to watch for what.
  static int on_socket(CURL*, curl_socket_t socket, int what, void* context, void* watched) {
    auto& self = *static_cast<HttpDestination*>(context);
    if (what == CURL_POLL_REMOVE) {
      // The descriptor may be closed already; then the kernel removed it.
      epoll_ctl(self.epoll_, EPOLL_CTL_DEL, socket, nullptr);
      return 0;
    }
    epoll_event event{};
    event.data.fd = socket;
    if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
    const int first_choice = watched == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(self.epoll_, first_choice, socket, &event) != 0 &&
        (errno == EEXIST || errno == ENOENT))
      epoll_ctl(self.epoll_, first_choice == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket,
                &event);
    curl_multi_assign(self.multi_.get(), socket, context);
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* context) {
    auto& self = *static_cast<HttpDestination*>(context);
    self.timer_ns_ =
        timeout_ms < 0 ? INT64_MAX : self.clock_.monotonic_ns() + int64_t{timeout_ms} * 1'000'000;
    return 0;
  }

  Status check_options() {
    const std::string& url = options_.url;
    if (!starts_with_ignoring_case(url, "http://") && !starts_with_ignoring_case(url, "https://"))
      return fail(ErrorCode::kInvalidArgument,
                  "destination {}: url must begin with http:// or https://", options_.name);
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), curl_url_cleanup);
    if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
      return fail(ErrorCode::kInvalidArgument, "destination {}: url is not a valid address",
                  options_.name);
    for (const std::string* file : {&options_.ca_file, &options_.cert_file, &options_.key_file})
      if (!file->empty() && access(file->c_str(), R_OK) != 0)
        return fail_errno(errno, "destination {}: cannot read {}", options_.name, *file);
    for (const auto& [name, value] : options_.headers)
      if (name.empty() || name.find_first_of(" \t\r\n:") != std::string::npos ||
          value.find_first_of("\r\n") != std::string::npos || value.find('\0') != std::string::npos)
        return fail(ErrorCode::kInvalidArgument, "destination {}: \"{}\" is not a valid header",
                    options_.name, name);
    return {};
  }

  std::unique_ptr<Request> take_request() {
    if (!idle_.empty()) {
      std::unique_ptr<Request> request = std::move(idle_.back());
      idle_.pop_back();
      return request;
    }
    auto request = std::make_unique<Request>();
    request->easy.reset(curl_easy_init());
    WEIR_CHECK(request->easy != nullptr, "libcurl has no memory for a request");
    configure(*request);
    return request;
  }

  void configure(Request& request) {
    CURL* easy = request.easy.get();
    curl_easy_setopt(easy, CURLOPT_URL, options_.url.c_str());
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir/0.1");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(options_.connect_timeout_ms));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.request_timeout_ms));
    // Below one byte a second for this long: nobody is there any more.
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(std::max<int64_t>(options_.stall_timeout_ms / 1000, 1)));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request.error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &request);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &weir_on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &weir_on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &request);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options_.verify_tls ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options_.verify_tls ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    if (!options_.cert_file.empty())
      curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.cert_file.c_str());
    if (!options_.key_file.empty())
      curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.key_file.c_str());
  }

  void set_headers(Request& request) {
    const Send& send = *request.send;
    request.headers.reset();
    append_header(request.headers, fmt::format("Content-Type: {}", content_type(options_.format)));
    const std::string_view encoding = content_encoding(options_.compression);
    if (!encoding.empty())
      append_header(request.headers, fmt::format("Content-Encoding: {}", encoding));
    append_header(request.headers, fmt::format("Idempotency-Key: {}", send.batch_id));
    append_header(request.headers, fmt::format("Weir-Node: {}", identity_.node));
    append_header(request.headers, fmt::format("Weir-Store: {}", identity_.store_id));
    append_header(request.headers, fmt::format("Weir-Events: {}", send.events));
    if (!options_.hmac_key.empty())
      append_header(request.headers,
                    "Weir-Signature: " +
                        make_signature(options_.hmac_key, clock_.wall_ms() / 1000, send.body));
    // Without this curl asks "Expect: 100-continue" for bodies above 1 MB and waits a second for
    // servers that do not know it.
    append_header(request.headers, "Expect:");
    for (const auto& [name, value] : options_.headers)
      append_header(request.headers,
                    value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value));
    curl_easy_setopt(request.easy.get(), CURLOPT_HTTPHEADER, request.headers.get());
  }

  Send* finish(CURL* easy, CURLcode code) {
    char* context = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    curl_multi_remove_handle(multi_.get(), easy);
    const auto found = std::find_if(busy_.begin(), busy_.end(), [&](const auto& request) {
      return static_cast<void*>(request.get()) == static_cast<void*>(context);
    });
    WEIR_CHECK(found != busy_.end(), "curl finished a request nobody sent");
    std::unique_ptr<Request> request = std::move(*found);
    busy_.erase(found);

    Send* send = request->send;
    send->outcome = classify(*request, code);
    send->duration_ns = clock_.monotonic_ns() - request->started_ns;
    send->next = nullptr;
    request->send = nullptr;
    idle_.push_back(std::move(request));
    return send;
  }

  Outcome classify(const Request& request, CURLcode code) const {
    long status = 0;
    curl_easy_getinfo(request.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    HttpAnswer answer;
    std::string error;
    if (code != CURLE_OK) {
      error = request.cut ? "its answer was longer than is read" : describe(request, code);
      answer.error = error;
      // An answer that broke off says nothing reliable, with two exceptions: we cut it ourselves,
      // or it refused the request before it was read to its end (a 413 that closes).
      if (!request.cut && status < 400) status = 0;
    }
    answer.status = static_cast<int>(status);
    answer.retry_after = request.retry_after;
    answer.location = request.location;
    answer.snippet = request.snippet;
    return classify_http(answer, request.send->events, clock_.wall_ms());
  }

  static std::string describe(const Request& request, CURLcode code) {
    return request.error[0] != 0 ? std::string(request.error)
                                 : std::string(curl_easy_strerror(code));
  }

  const DestinationOptions options_;
  const HttpIdentity identity_;
  const Clock& clock_;
  std::unique_ptr<Compressor> compressor_;
  int epoll_ = -1;
  std::unique_ptr<CURLM, FreeMulti> multi_;
  int64_t timer_ns_ = INT64_MAX;
  std::vector<std::unique_ptr<Request>> busy_;
  std::vector<std::unique_ptr<Request>> idle_;
};

}  // namespace

Result<std::unique_ptr<Destination>> make_http_destination(const DestinationOptions& options,
                                                           const HttpIdentity& identity,
                                                           const Clock& clock) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  auto destination = std::make_unique<HttpDestination>(options, identity, clock);
  WEIR_RETURN_IF_ERROR(destination->open());
  return destination;
}

}  // namespace weir::forwarder
