#include "forwarder/retry_policy.h"

#include <gtest/gtest.h>

namespace weir::forwarder {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;  // 2023-11-14T22:13:20Z

Outcome classify(int status, uint64_t events = 10, std::string_view retry_after = {}) {
  HttpAnswer answer;
  answer.status = status;
  answer.retry_after = retry_after;
  answer.snippet = "why";
  if (status == 0) answer.error = "connection refused";
  return classify_http(answer, events, kNow);
}

TEST(RetryPolicy, EveryStatusFallsIntoItsClass) {
  for (int status = 200; status <= 299; ++status)
    EXPECT_EQ(classify(status).kind, OutcomeKind::kDelivered) << status;
  for (int status = 300; status <= 499; ++status) {
    const bool retry = status == 408 || status == 425 || status == 429;
    EXPECT_EQ(classify(status).kind, retry ? OutcomeKind::kRetry : OutcomeKind::kSplit) << status;
    EXPECT_EQ(classify(status, 1).kind, retry ? OutcomeKind::kRetry : OutcomeKind::kReject)
        << status;
  }
  for (int status = 500; status <= 599; ++status) {
    EXPECT_EQ(classify(status, 1).kind, OutcomeKind::kRetry) << status;
    EXPECT_FALSE(classify(status).network) << status;
  }
  for (const int status : {0, 100, 101, 199, 600, 999}) {
    EXPECT_EQ(classify(status, 1).kind, OutcomeKind::kRetry) << status;
    EXPECT_TRUE(classify(status).network) << status;
  }
}

TEST(RetryPolicy, ReasonsAreShortAndStable) {
  EXPECT_EQ(classify(400).reason, "http_400");
  EXPECT_EQ(classify(413).reason, "too_large");
  EXPECT_TRUE(classify(413).too_large);
  EXPECT_EQ(classify(302).reason, "redirect");
  EXPECT_EQ(classify(503).reason, "http_503");
  EXPECT_EQ(classify(0).reason, "network");
}

TEST(RetryPolicy, DetailCarriesStatusAndAnswer) {
  EXPECT_EQ(classify(422).detail, "HTTP 422: why");
  EXPECT_EQ(classify(0).detail, "connection refused");
  HttpAnswer moved;
  moved.status = 301;
  moved.location = "https://other.example/in";
  const std::string detail = classify_http(moved, 1, kNow).detail;
  EXPECT_NE(detail.find("not followed"), std::string::npos);
  EXPECT_NE(detail.find("https://other.example/in"), std::string::npos);
}

TEST(RetryPolicy, OnlyAnswersThatNoEventCanCauseAreAboutTheAddress) {
  for (int status = 300; status <= 499; ++status) {
    const bool about =
        status < 400 || status == 401 || status == 404 || status == 405 || status == 407;
    EXPECT_EQ(classify(status).about_address, about) << status;
  }
}

TEST(RetryPolicy, RetryAfterIsHonouredWhereTheAnswerAsksForARetry) {
  EXPECT_EQ(classify(429, 1, "30").retry_after_ms, 30'000);
  EXPECT_EQ(classify(503, 1, "0").retry_after_ms, 0);
  EXPECT_EQ(classify(503, 1, "soon").retry_after_ms, -1);
  EXPECT_EQ(classify(429, 1).retry_after_ms, -1);
  EXPECT_EQ(classify(400, 1, "30").retry_after_ms, -1);
}

TEST(RetryPolicy, RetryAfterTakesSecondsAndAllDateForms) {
  struct Row {
    std::string_view value;
    std::optional<int64_t> ms;
  };
  const Row rows[] = {
      {"120", 120'000},
      {"  7 \r\n", 7'000},
      {"Tue, 14 Nov 2023 22:13:50 GMT", 30'000},    // IMF-fixdate
      {"Tuesday, 14-Nov-23 22:13:50 GMT", 30'000},  // RFC 850
      {"Tue Nov 14 22:13:50 2023", 30'000},         // asctime
      {"Wed Nov  1 22:13:50 2023", 0},              // past, one digit
      {"Sunday, 06-Nov-94 08:49:37 GMT", 0},        // the last century
      {"Mon, 14 Nov 2033 22:13:20 GMT", kMaxRetryAfterMs},
      {"99999999999999999999999999", kMaxRetryAfterMs},
      {"86401", kMaxRetryAfterMs},
      {"-1", std::nullopt},
      {"1.5", std::nullopt},
      {"", std::nullopt},
      {"Tue, 31 Feb 2024 00:00:00 GMT", std::nullopt},
      {"Tue, 14 Nov 2023 25:13:50 GMT", std::nullopt},
      {"Tue, 14 Nev 2023 22:13:50 GMT", std::nullopt},
      {"Tue, 14 Nov 2023 22:13:50 CET", std::nullopt},
      {"tomorrow at noon, I guess, or so", std::nullopt},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_retry_after_ms(row.value, kNow), row.ms) << row.value;
}

TEST(RetryPolicy, FullJitterCoversItsWholeRange) {
  RetryOptions options;
  options.base_ms = 500;
  options.cap_ms = 300'000;
  const int64_t tops[] = {500,    1000,   2000,    4000,    8000,    16'000,
                          32'000, 64'000, 128'000, 256'000, 300'000, 300'000};
  for (uint32_t attempt = 0; attempt < std::size(tops); ++attempt) {
    EXPECT_EQ(full_jitter_ms(options, attempt, 0), 0);
    EXPECT_EQ(full_jitter_ms(options, attempt, UINT64_MAX), tops[attempt]) << attempt;
    EXPECT_NEAR(static_cast<double>(full_jitter_ms(options, attempt, UINT64_MAX / 2)),
                static_cast<double>(tops[attempt]) / 2, 1);
  }
  EXPECT_EQ(full_jitter_ms(options, UINT32_MAX, UINT64_MAX), 300'000);
  options.base_ms = 0;
  EXPECT_EQ(full_jitter_ms(options, 50, UINT64_MAX), 0);
}

TEST(RetryPolicy, NeverEarlierThanRetryAfterAndNotAllInOneInstant) {
  RetryOptions options;
  EXPECT_EQ(retry_delay_ms(options, 0, 60'000, 0), 60'000);
  EXPECT_EQ(retry_delay_ms(options, 9, 60'000, UINT64_MAX), 60'000 + options.base_ms);
  EXPECT_EQ(retry_delay_ms(options, 1, -1, UINT64_MAX), 1000);
}

TEST(RetryPolicy, GivesUpAfterTheWindowOrTheAttempts) {
  RetryOptions options;
  EXPECT_GE(options.window_ms, 72LL * 3'600'000);
  EXPECT_EQ(give_up_reason(options, 1'000'000, kNow, kNow + options.window_ms - 1), "");
  EXPECT_EQ(give_up_reason(options, 1, kNow, kNow + options.window_ms), "retry_window");
  options.max_attempts = 3;
  EXPECT_EQ(give_up_reason(options, 2, kNow, kNow), "");
  EXPECT_EQ(give_up_reason(options, 3, kNow, kNow), "max_attempts");
}

}  // namespace
}  // namespace weir::forwarder
