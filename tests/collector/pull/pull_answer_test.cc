// Answers to pulling servers: statuses, bodies, headers.
#include "collector/pull/pull_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::pull {
namespace {

using forwarder::PullCall;
using forwarder::PullKind;
using ::testing::HasSubstr;
using ::testing::Not;

const Node kNode{"edge\r\nEvil: 1", "store"};

TEST(PullAnswer, ALeaseInNdjsonHasEverythingElseInHeaders) {
  PullCall call;
  call.format = forwarder::BodyFormat::kNdjson;
  call.compression = forwarder::Compression::kZstd;
  call.body = "{}\n";
  call.lease = "L-1";
  call.delivery = 2;
  call.backlog_events = 12;
  call.backlog_oldest_seconds = 3;
  const admin::Reply reply = make_answer(call, kNode);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "application/x-ndjson");
  EXPECT_EQ(reply.body, "{}\n");
  for (const char* line :
       {"Content-Encoding: zstd\r\n", "Weir-Lease: L-1\r\n", "Weir-Delivery: 2\r\n",
        "Weir-Store: store\r\n", "Weir-Backlog: events=12, oldest_seconds=3\r\n"})
    EXPECT_THAT(reply.headers, HasSubstr(line));
  EXPECT_THAT(reply.headers, Not(HasSubstr("\nEvil")));
}

TEST(PullAnswer, NothingIs204) {
  PullCall call;
  call.empty = true;
  EXPECT_EQ(make_answer(call, kNode).status, 204);
}

TEST(PullAnswer, EndingsAreCounts) {
  PullCall call;
  call.kind = PullKind::kAck;
  call.acked = 3;
  call.dead_lettered = 1;
  EXPECT_EQ(make_answer(call, kNode).body,
            R"({"acked":3,"nacked":0,"rejected":0,"dead_lettered":1})");
  call.kind = PullKind::kSeek;
  call.consumer = "main";
  call.positions = {{0, 17}, {1, 2}};
  EXPECT_EQ(make_answer(call, kNode).body, R"({"consumer":"main","positions":["0-17","1-2"]})");
}

TEST(PullAnswer, FailuresHaveTheirStatusAndCode) {
  const std::pair<ErrorCode, int> expected[] = {
      {ErrorCode::kNotFound, 404},        {ErrorCode::kPermission, 403},  {ErrorCode::kBusy, 409},
      {ErrorCode::kInvalidArgument, 400}, {ErrorCode::kUnavailable, 503}, {ErrorCode::kLimit, 503}};
  for (const auto& [code, status] : expected) {
    PullCall call;
    call.status = fail(code, "why");
    call.code = "some_code";
    const admin::Reply reply = make_answer(call, kNode);
    EXPECT_EQ(reply.status, status);
    EXPECT_THAT(reply.body, HasSubstr(R"("code":"some_code")"));
    EXPECT_EQ(reply.retry_after_seconds, status == 503 ? 1 : 0);
  }
}

}  // namespace
}  // namespace weir::pull
