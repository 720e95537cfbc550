#include "forwarder/retry_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "storage/base/clock.h"

namespace weir::forwarder {
namespace {

bool is_retryable(int status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status <= 599);
}

// These speak of the URL, the method or the credentials: no event can cause them.
bool is_about_address(int status) {
  return (status >= 300 && status <= 399) || status == 401 || status == 404 || status == 405 ||
         status == 407;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool parse_number(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > 18 || !std::all_of(text.begin(), text.end(), is_digit))
    return false;
  *value = 0;
  for (const char c : text) *value = *value * 10 + (c - '0');
  return true;
}

// 1..12 for the English month names HTTP-date uses, 0 for anything else.
int month_number(std::string_view name) {
  static constexpr std::array<std::string_view, 12> kMonths = {
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto found = std::find(kMonths.begin(), kMonths.end(), name);
  return found == kMonths.end() ? 0 : static_cast<int>(found - kMonths.begin()) + 1;
}

std::vector<std::string_view> words(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// The three forms differ only in the order of their words:
//   Sun, 06 Nov 1994 08:49:37 GMT    IMF-fixdate
//   Sunday, 06-Nov-94 08:49:37 GMT   RFC 850
//   Sun Nov  6 08:49:37 1994         asctime
bool parse_http_date(std::string_view text, int64_t now_wall_ms, int64_t* wall_ms) {
  const std::vector<std::string_view> parts = words(text, " ,-");
  std::string_view day, month, year, time;
  if (parts.size() == 6 && parts[5] == "GMT") {
    day = parts[1], month = parts[2], year = parts[3], time = parts[4];
  } else if (parts.size() == 5) {
    month = parts[1], day = parts[2], time = parts[3], year = parts[4];
  } else {
    return false;
  }
  int64_t day_number = 0, year_number = 0;
  if (!parse_number(day, &day_number) || !parse_number(year, &year_number) || day.size() > 2 ||
      time.size() != 8 || month_number(month) == 0)
    return false;
  const auto parse = [&](int64_t full_year) {
    return parse_rfc3339_ms(
        fmt::format("{:04}-{:02}-{:02}T{}Z", full_year, month_number(month), day_number, time),
        wall_ms);
  };
  if (year.size() != 2) return parse(year_number);
  // RFC 9110 section 5.6.7: a two-digit year more than 50 years ahead is one of the last century.
  constexpr int64_t kFiftyYearsMs = 50LL * 31'556'952'000;
  if (!parse(2000 + year_number)) return false;
  return *wall_ms - now_wall_ms <= kFiftyYearsMs || parse(1900 + year_number);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() &&
         (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
    text.remove_suffix(1);
  return text;
}

std::string describe(const HttpAnswer& answer) {
  if (answer.status == 0) return std::string(answer.error);
  std::string text = fmt::format("HTTP {}", answer.status);
  if (answer.status >= 300 && answer.status <= 399)
    text += fmt::format(
        ": redirects are not followed; set the destination's url to the final "
        "address (it names \"{}\")",
        answer.location);
  if (!answer.snippet.empty()) text += fmt::format(": {}", answer.snippet);
  // The status was read, the rest of the answer was not.
  if (!answer.error.empty()) text += fmt::format(" ({})", answer.error);
  return text;
}

}  // namespace

Outcome classify_http(const HttpAnswer& answer, uint64_t events, int64_t now_wall_ms) {
  Outcome outcome;
  outcome.status = answer.status;
  outcome.detail = describe(answer);
  if (answer.status >= 200 && answer.status <= 299) {
    outcome.kind = OutcomeKind::kDelivered;
    outcome.reason = "delivered";
  } else if (is_retryable(answer.status)) {
    outcome.reason = fmt::format("http_{}", answer.status);
    outcome.retry_after_ms = parse_retry_after_ms(answer.retry_after, now_wall_ms).value_or(-1);
  } else if (answer.status >= 300 && answer.status <= 499) {
    outcome.kind = events > 1 ? OutcomeKind::kSplit : OutcomeKind::kReject;
    outcome.about_address = is_about_address(answer.status);
    outcome.too_large = answer.status == 413;
    if (outcome.too_large)
      outcome.reason = "too_large";
    else if (answer.status <= 399)
      outcome.reason = "redirect";
    else
      outcome.reason = fmt::format("http_{}", answer.status);
  } else {  // none, 1xx as a final status, 600 and above: not an answer HTTP knows
    outcome.network = true;
    outcome.reason = "network";
  }
  return outcome;
}

std::optional<int64_t> parse_retry_after_ms(std::string_view value, int64_t now_wall_ms) {
  value = trimmed(value);
  if (value.empty()) return std::nullopt;
  if (std::all_of(value.begin(), value.end(), is_digit)) {
    int64_t seconds = 0;
    if (!parse_number(value, &seconds) || seconds > kMaxRetryAfterMs / 1000)
      return kMaxRetryAfterMs;
    return seconds * 1000;
  }
  int64_t at_ms = 0;
  if (!parse_http_date(value, now_wall_ms, &at_ms)) return std::nullopt;
  return std::clamp<int64_t>(at_ms - now_wall_ms, 0, kMaxRetryAfterMs);
}

int64_t full_jitter_ms(const RetryOptions& options, uint32_t attempt, uint64_t random) {
  const auto cap = static_cast<uint64_t>(std::max<int64_t>(options.cap_ms, 0));
  auto top = static_cast<uint64_t>(std::max<int64_t>(options.base_ms, 0));
  for (uint32_t i = 0; i < attempt && top < cap && top != 0; ++i) top *= 2;
  top = std::min(top, cap);
  // The high half of a 64 x 64 bit product maps uniform bits to [0, top] without a modulo.
  return static_cast<int64_t>((static_cast<unsigned __int128>(random) * (top + 1)) >> 64);
}

int64_t retry_delay_ms(const RetryOptions& options, uint32_t attempt, int64_t retry_after_ms,
                       uint64_t random) {
  const int64_t jitter = full_jitter_ms(options, attempt, random);
  if (retry_after_ms < 0) return jitter;
  // Everybody who was told "in 60 seconds" would come back in the same instant: spread a little.
  return std::min(retry_after_ms, kMaxRetryAfterMs) + std::min(jitter, options.base_ms);
}

std::string_view give_up_reason(const RetryOptions& options, uint32_t attempts,
                                int64_t first_attempt_ms, int64_t now_wall_ms) {
  if (now_wall_ms - first_attempt_ms >= options.window_ms) return "retry_window";
  if (options.max_attempts != 0 && attempts >= options.max_attempts) return "max_attempts";
  return {};
}

}  // namespace weir::forwarder
