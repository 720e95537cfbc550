#include "forwarder/destinations/http_client.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include "forwarder/limits.h"
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

// One transfer. Reused, with its curl handle: the handle's settings stay.
struct Transfer {
  std::unique_ptr<CURL, FreeEasy> easy;
  HeaderList headers;
  HttpRequest* request = nullptr;
  int64_t started_ns = 0;
  char error[CURL_ERROR_SIZE] = {};
  size_t body_bytes = 0;
  size_t header_bytes = 0;
  bool cut = false;  // we stopped reading: the answer met its bound
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
  auto& transfer = *static_cast<Transfer*>(context);
  HttpRequest& request = *transfer.request;
  const std::string_view line(data, size * count);
  if (starts_with_ignoring_case(line, "http/")) {  // a new answer: 100 Continue came before it
    request.retry_after.clear();
    request.location.clear();
  }
  keep_header_value(line, "retry-after:", &request.retry_after);
  keep_header_value(line, "location:", &request.location);
  transfer.header_bytes += line.size();
  if (transfer.header_bytes <= kMaxAnswerHeaderBytes) return line.size();
  transfer.cut = true;
  return 0;
}

extern "C" size_t weir_on_body(char* data, size_t size, size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  HttpRequest& request = *transfer.request;
  const std::string_view bytes(data, size * count);
  if (request.snippet.size() < kMaxSnippetBytes)
    request.snippet += bytes.substr(0, kMaxSnippetBytes - request.snippet.size());
  transfer.body_bytes += bytes.size();
  if (transfer.body_bytes <= kMaxAnswerBytes) return bytes.size();
  transfer.cut = true;
  return 0;
}

class CurlClient : public HttpClient {
 public:
  CurlClient(const DestinationOptions& options, const Clock& clock)
      : options_(options), clock_(clock) {}

  ~CurlClient() override {
    abandon();
    idle_.clear();
    multi_.reset();  // before the epoll set: curl still removes its sockets from it
    if (epoll_ >= 0) close(epoll_);
  }

  Status open() {
    WEIR_RETURN_IF_ERROR(check_options());
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return fail_errno(errno, "no epoll set for destination {}", options_.name);
    multi_.reset(curl_multi_init());
    if (!multi_) return fail(ErrorCode::kLimit, "libcurl has no memory for {}", options_.name);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &CurlClient::on_socket);
    curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &CurlClient::on_timer);
    curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(options_.concurrency));
    return {};
  }

  void start(HttpRequest& request) override {
    std::unique_ptr<Transfer> transfer = take_transfer();
    transfer->error[0] = 0;
    transfer->body_bytes = transfer->header_bytes = 0;
    transfer->cut = false;
    transfer->request = &request;
    transfer->started_ns = clock_.monotonic_ns();
    transfer->headers.reset();
    // Without this curl asks "Expect: 100-continue" for bodies above 1 MB and waits a second for
    // servers that do not know it.
    append_header(transfer->headers, "Expect:");
    for (const std::string& line : request.headers) append_header(transfer->headers, line);
    CURL* easy = transfer->easy.get();
    curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers.get());
    // Null would mean: ask a callback for the body.
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    const CURLMcode added = curl_multi_add_handle(multi_.get(), easy);
    WEIR_CHECK(added == CURLM_OK, "curl_multi_add_handle: {}", curl_multi_strerror(added));
    busy_.push_back(std::move(transfer));
  }

  HttpRequest* take_finished() override {
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
    HttpRequest* first = nullptr;
    HttpRequest** last = &first;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      HttpRequest* request = finish(message->easy_handle, message->data.result);
      *last = request;
      last = &request->next;
    }
    *last = nullptr;
    return first;
  }

  void abandon() override {
    for (const auto& transfer : busy_) curl_multi_remove_handle(multi_.get(), transfer->easy.get());
    busy_.clear();
  }

  int poll_fd() const override { return epoll_; }
  int64_t deadline_ns() const override { return timer_ns_; }

 private:
  // curl says which of its sockets to watch for what.
  static int on_socket(CURL*, curl_socket_t socket, int what, void* context, void* watched) {
    auto& self = *static_cast<CurlClient*>(context);
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
    auto& self = *static_cast<CurlClient*>(context);
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
    return {};
  }

  std::unique_ptr<Transfer> take_transfer() {
    if (!idle_.empty()) {
      std::unique_ptr<Transfer> transfer = std::move(idle_.back());
      idle_.pop_back();
      return transfer;
    }
    auto transfer = std::make_unique<Transfer>();
    transfer->easy.reset(curl_easy_init());
    WEIR_CHECK(transfer->easy != nullptr, "libcurl has no memory for a request");
    configure(*transfer);
    return transfer;
  }

  void configure(Transfer& transfer) {
    CURL* easy = transfer.easy.get();
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // A name that is still being looked up when its request ends is left to its thread; without
    // this curl waits for it, and with it every other destination.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
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
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &weir_on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &weir_on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options_.verify_tls ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options_.verify_tls ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    if (!options_.cert_file.empty())
      curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.cert_file.c_str());
    if (!options_.key_file.empty())
      curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.key_file.c_str());
  }

  HttpRequest* finish(CURL* easy, CURLcode code) {
    char* context = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    curl_multi_remove_handle(multi_.get(), easy);
    const auto found = std::find_if(busy_.begin(), busy_.end(), [&](const auto& transfer) {
      return static_cast<void*>(transfer.get()) == static_cast<void*>(context);
    });
    WEIR_CHECK(found != busy_.end(), "curl finished a request nobody started");
    std::unique_ptr<Transfer> transfer = std::move(*found);
    busy_.erase(found);

    HttpRequest* request = transfer->request;
    transfer->request = nullptr;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK) {
      request->error = transfer->cut             ? "its answer was longer than is read"
                       : transfer->error[0] != 0 ? transfer->error
                                                 : curl_easy_strerror(code);
      // An answer that broke off says nothing reliable, with two exceptions: we cut it ourselves,
      // or it refused the request before it was read to its end (a 413 that closes).
      if (!transfer->cut && status < 400) status = 0;
    }
    request->status = static_cast<int>(status);
    request->duration_ns = clock_.monotonic_ns() - transfer->started_ns;
    request->next = nullptr;
    idle_.push_back(std::move(transfer));
    return request;
  }

  const DestinationOptions& options_;
  const Clock& clock_;
  int epoll_ = -1;
  std::unique_ptr<CURLM, FreeMulti> multi_;
  int64_t timer_ns_ = INT64_MAX;
  std::vector<std::unique_ptr<Transfer>> busy_;
  std::vector<std::unique_ptr<Transfer>> idle_;
};

}  // namespace

Result<std::unique_ptr<HttpClient>> HttpClient::make(const DestinationOptions& options,
                                                     const Clock& clock) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  auto client = std::make_unique<CurlClient>(options, clock);
  WEIR_RETURN_IF_ERROR(client->open());
  return client;
}

}  // namespace weir::forwarder
