// What an answer means, when to try again, when to give up. Pure functions: no clock, no random
// source, no state; the tables in docs/delivery.md are these functions.
// Path: warm (per send).  Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

// Longer wishes of a destination are cut: it is asked at least once a day.
constexpr int64_t kMaxRetryAfterMs = 86'400'000;

// What an HTTP destination said. LIFETIME: views, for the call only.
struct HttpAnswer {
  int status = 0;  // 0: there was no usable answer, error says why
  std::string_view error;
  std::string_view retry_after;  // the header's value
  std::string_view location;     // the header's value
  std::string_view snippet;      // how the body begins
};

// 2xx delivered; 408, 425, 429, 5xx, everything that is no proper answer: retry; 3xx (never
// followed) and every other 4xx: split, and reject when the batch is one event.
Outcome classify_http(const HttpAnswer& answer, uint64_t events, int64_t now_wall_ms);

// Retry-After: delay-seconds or any of the three HTTP-date forms (RFC 9110 sections 10.2.3 and
// 5.6.7). Milliseconds from now, 0 for a past date; nothing when it is neither.
std::optional<int64_t> parse_retry_after_ms(std::string_view value, int64_t now_wall_ms);

// Full jitter: uniform in [0, min(cap, base * 2^attempt)]; attempt counts from 0. random: 64
// uniform bits.
int64_t full_jitter_ms(const RetryOptions& options, uint32_t attempt, uint64_t random);

// The pause after a failed attempt: full jitter, on top of what the destination asked for.
int64_t retry_delay_ms(const RetryOptions& options, uint32_t attempt, int64_t retry_after_ms,
                       uint64_t random);

// Why a batch that failed `attempts` times is given up: "retry_window", "max_attempts", or empty
// when it may be tried again.
std::string_view give_up_reason(const RetryOptions& options, uint32_t attempts,
                                int64_t first_attempt_ms, int64_t now_wall_ms);

}  // namespace weir::forwarder
