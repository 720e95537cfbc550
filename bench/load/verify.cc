#include "bench/load/verify.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <thread>

#include "bench/load/request_source.h"
#include "storage/base/clock.h"

namespace weir::bench {
namespace {

// Short, so that events of a lease whose answer was lost come again soon.
constexpr int kLeaseSeconds = 10;
constexpr int kMaxEvents = 10'000;
constexpr int kWaitMs = 500;
// A consumer left behind by a generator that was killed deletes itself so long after the run's end.
constexpr int64_t kForgetSeconds = 600;

size_t collect(char* bytes, size_t size, size_t count, void* out) {
  static_cast<std::string*>(out)->append(bytes, size * count);
  return size * count;
}

struct Answer {
  long status = 0;  // 0: no answer
  std::string body;
  std::string head;
  std::string error;
};

// The value of a header in a raw head; empty when it is not there.
std::string header_of(std::string_view head, std::string_view name) {
  for (size_t at = 0; at < head.size();) {
    const size_t end = std::min(head.find("\r\n", at), head.size());
    const std::string_view line = head.substr(at, end - at);
    if (line.size() > name.size() && line[name.size()] == ':' &&
        std::equal(name.begin(), name.end(), line.begin(),
                   [](char a, char b) { return std::tolower(a) == std::tolower(b); })) {
      const size_t value = line.find_first_not_of(' ', name.size() + 1);
      return value == std::string_view::npos ? "" : std::string(line.substr(value));
    }
    at = end + 2;
  }
  return {};
}

}  // namespace

struct Verifier::Http {
  explicit Http(const VerifySettings& of) : settings(of), curl(curl_easy_init()) {}
  ~Http() { curl_easy_cleanup(curl); }

  Answer send(const char* method, const std::string& path, const std::string& body) {
    Answer answer;
    curl_slist* headers = nullptr;
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Accept: application/x-ndjson");
    if (!settings.token.empty())
      headers = curl_slist_append(headers, ("Authorization: Bearer " + settings.token).c_str());
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, (settings.admin_url + path).c_str());
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 30'000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, settings.insecure ? 0L : 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer.head);
    const CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
      curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    else
      answer.error = curl_easy_strerror(code);
    curl_slist_free_all(headers);
    return answer;
  }

  const VerifySettings& settings;
  CURL* curl;
};

// What came, per load thread one bit per id.
struct Verifier::Seen {
  std::vector<std::vector<bool>> ids;
  uint64_t events = 0;  // of this run, each once
  uint64_t repeated = 0;

  void mark(size_t thread, uint64_t counter, bool first_delivery) {
    if (thread >= ids.size()) ids.resize(thread + 1);
    std::vector<bool>& of_thread = ids[thread];
    if (counter >= of_thread.size()) of_thread.resize(counter + counter / 2 + 65'536);
    if (!of_thread[counter])
      ++events;
    else if (first_delivery)
      ++repeated;
    of_thread[counter] = true;
  }
  bool has(size_t thread, uint64_t counter) const {
    return thread < ids.size() && counter < ids[thread].size() && ids[thread][counter];
  }
};

Verifier::Verifier(const VerifySettings& settings, const LoadOptions& load)
    : settings_(settings),
      run_id_(load.run_id),
      consumer_("weir-bench-" + load.run_id),
      http_(std::make_unique<Http>(settings_)) {}

Verifier::~Verifier() { http_->send("DELETE", "/api/v1/consumers/" + consumer_, ""); }

Result<std::unique_ptr<Verifier>> Verifier::start(const VerifySettings& settings,
                                                  const LoadOptions& load) {
  std::unique_ptr<Verifier> verifier(new Verifier(settings, load));
  const Answer answer = verifier->http_->send(
      "POST", "/api/v1/consumers",
      fmt::format(
          R"({{"name":"{}","from":"latest","temporary":true,"sandbox":true,"lease_seconds":{},"max_idle_seconds":{}}})",
          verifier->consumer_, kLeaseSeconds,
          (load.warmup_ms + load.duration_ms) / 1000 + kForgetSeconds));
  if (answer.status == 0)
    return fail(ErrorCode::kUnavailable, "--verify: cannot reach {}: {}", settings.admin_url,
                answer.error);
  if (answer.status / 100 != 2)
    return fail(ErrorCode::kUnavailable,
                "--verify: {} does not make a consumer: {} {} (it takes the admin listener's "
                "address, and WEIR_TOKEN with the role admin where tokens are configured)",
                settings.admin_url, answer.status, answer.body.substr(0, 300));
  return verifier;
}

bool Verifier::parse_id(std::string_view id, std::string_view run_id, size_t* thread,
                        uint64_t* counter) {
  constexpr std::string_view kMiddle = "-4000-8000-";
  if (id.size() != run_id.size() + 1 + 4 + kMiddle.size() + kIdDigits ||
      id.substr(0, run_id.size()) != run_id || id[run_id.size()] != '-' ||
      id.substr(run_id.size() + 5, kMiddle.size()) != kMiddle)
    return false;
  const char* const digits = id.data() + run_id.size() + 1;
  const char* const last = id.data() + id.size();
  return std::from_chars(digits, digits + 4, *thread).ptr == digits + 4 &&
         std::from_chars(last - kIdDigits, last, *counter).ptr == last;
}

// One lease, acknowledged. False: there was nothing. An error: try again later.
Result<bool> Verifier::pull_once(Seen& seen) {
  const Answer leased =
      http_->send("POST", "/pull/v1/" + consumer_ + "/lease",
                  fmt::format(R"({{"max_events":{},"wait_ms":{}}})", kMaxEvents, kWaitMs));
  if (leased.status == 204) return false;
  if (leased.status != 200)
    return fail(ErrorCode::kUnavailable, "{} {}", leased.status,
                leased.status == 0 ? leased.error : leased.body.substr(0, 300));
  const bool first_delivery = header_of(leased.head, "Weir-Delivery") == "1";
  simdjson::dom::parser parser;
  for (std::string_view rest = leased.body; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::string_view id;
    size_t thread = 0;
    uint64_t counter = 0;
    simdjson::dom::element event;
    if (line.empty() || parser.parse(line.data(), line.size()).get(event) != simdjson::SUCCESS ||
        event["id"].get(id) != simdjson::SUCCESS)
      continue;
    if (parse_id(id, run_id_, &thread, &counter)) seen.mark(thread, counter, first_delivery);
  }
  // Too late (409) is no harm: the events come again, as a later delivery.
  http_->send("POST", "/pull/v1/" + consumer_ + "/ack",
              fmt::format(R"({{"lease":"{}"}})", header_of(leased.head, "Weir-Lease")));
  return true;
}

// Whether the consumer has finished everything that was stored, leases included.
bool Verifier::nothing_pending() {
  const Answer answer = http_->send("GET", "/api/v1/consumers/" + consumer_, "");
  simdjson::dom::parser parser;
  simdjson::dom::element shown;
  uint64_t pending = 0;
  return answer.status == 200 && parser.parse(answer.body).get(shown) == simdjson::SUCCESS &&
         shown["pending"].get(pending) == simdjson::SUCCESS && pending == 0;
}

Result<Verification> Verifier::finish(const std::vector<std::vector<bool>>& acknowledged,
                                      const std::atomic<bool>* stop) {
  Verification result;
  for (const std::vector<bool>& of_thread : acknowledged)
    result.acknowledged +=
        static_cast<uint64_t>(std::count(of_thread.begin(), of_thread.end(), true));
  Seen seen;
  const auto count_missing = [&] {
    result.missing = 0;
    result.first_missing.clear();
    for (size_t thread = 0; thread < acknowledged.size(); ++thread)
      for (uint64_t id = 0; id < acknowledged[thread].size(); ++id) {
        if (!acknowledged[thread][id] || seen.has(thread, id)) continue;
        if (result.missing++ == 0)
          result.first_missing = fmt::format("{}-{:04}-4000-8000-{:012}", run_id_, thread, id);
      }
  };
  const Clock& clock = Clock::system();
  int64_t progress_ns = clock.monotonic_ns();
  std::string last_error;
  while (!stop->load()) {
    const uint64_t before = seen.events;
    const auto more = pull_once(seen);
    if (seen.events > before) progress_ns = clock.monotonic_ns();
    const int64_t idle_ms = (clock.monotonic_ns() - progress_ns) / 1'000'000;
    if (!more) {
      last_error = more.error().message;
      if (idle_ms > settings_.patience_ms)
        return fail(ErrorCode::kUnavailable, "--verify: gave up after {} s: {}",
                    settings_.patience_ms / 1000, last_error);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    } else if (!*more) {
      count_missing();
      // Events of a lease that got lost come again when it expires.
      if (result.missing == 0 || nothing_pending() || idle_ms > (kLeaseSeconds + 5) * 1000) break;
    }
  }
  count_missing();
  result.done = !stop->load();
  result.repeated = seen.repeated;
  result.unasked = seen.events - (result.acknowledged - result.missing);
  return result;
}

}  // namespace weir::bench
