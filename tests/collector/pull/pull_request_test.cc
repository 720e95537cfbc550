// Requests of pulling servers: paths, bodies, headers.
#include "collector/pull/pull_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collector/http/server.h"

namespace weir::pull {
namespace {

using forwarder::Compression;
using forwarder::PullCall;
using forwarder::PullKind;
using forwarder::SeekTarget;
using http::Method;
using ::testing::HasSubstr;

class PullRequestTest : public ::testing::Test {
 protected:
  // Reads a body for an operation.
  Status read(PullKind kind, std::string_view body, std::vector<http::Header> headers = {}) {
    call = std::make_unique<PullCall>();
    call->kind = kind;
    http::Request request;
    request.headers = std::move(headers);
    budget.reserve(request.body, body.size() + 1);
    std::copy(body.begin(), body.end(), request.body.data());
    http::BodyBudget::set_size(request.body, body.size());
    return read_request(request, *call);
  }
  std::string why(PullKind kind, std::string_view body) {
    const Status status = read(kind, body);
    return status ? std::string() : status.error().message;
  }

  http::BodyBudget budget{1 << 20};
  std::unique_ptr<PullCall> call;
};

TEST_F(PullRequestTest, PathsNameTheConsumerAndTheOperation) {
  std::string consumer;
  bool known = false;
  EXPECT_EQ(find_operation(Method::kPost, "/pull/v1/main/lease", &consumer, &known),
            PullKind::kLease);
  EXPECT_EQ(consumer, "main");
  EXPECT_EQ(find_operation(Method::kPost, "/pull/v1/a%2Fb/ack", &consumer, &known), PullKind::kAck);
  EXPECT_EQ(consumer, "a/b");
  EXPECT_EQ(find_operation(Method::kGet, "/pull/v1/main", &consumer, &known), PullKind::kShow);
  EXPECT_FALSE(find_operation(Method::kGet, "/pull/v1/main/lease", &consumer, &known));
  EXPECT_TRUE(known);
  for (const char* path :
       {"/pull/v1/", "/pull/v1/main/", "/pull/v1/main/lease/x", "/pull/v2/main"}) {
    EXPECT_FALSE(find_operation(Method::kPost, path, &consumer, &known)) << path;
    EXPECT_FALSE(known) << path;
  }
}

TEST_F(PullRequestTest, NothingIsEnoughForALease) {
  ASSERT_TRUE(read(PullKind::kLease, ""));
  EXPECT_EQ(call->max_events, 1000u);
  EXPECT_EQ(call->wait_ms, 0);
  ASSERT_TRUE(read(PullKind::kLease,
                   "{\"max_events\":7,\"max_bytes\":100,\"wait_ms\":20000,"
                   "\"lease_seconds\":60,\"unknown\":[]}"));
  EXPECT_EQ(call->max_events, 7u);
  EXPECT_EQ(call->max_bytes, 100u);
  EXPECT_EQ(call->wait_ms, 20'000);
  EXPECT_EQ(call->lease_ms, 60'000);
}

TEST_F(PullRequestTest, AnAckNamesEvents) {
  ASSERT_TRUE(read(PullKind::kAck,
                   "{\"lease\":\"L\",\"nack\":[{\"seq\":\"0-17\",\"delay_seconds\":60},\"1-2\"],"
                   "\"reject\":[{\"seq\":\"0-18\",\"reason\":\"no\"},{\"seq\":\"0-19\"}]}"));
  EXPECT_EQ(call->lease, "L");
  ASSERT_EQ(call->nacks.size(), 2u);
  EXPECT_EQ(call->nacks[0].position, (Position{0, 17}));
  EXPECT_EQ(call->nacks[0].delay_ms, 60'000);
  EXPECT_EQ(call->nacks[1].position, (Position{1, 2}));
  ASSERT_EQ(call->rejects.size(), 2u);
  EXPECT_EQ(call->rejects[0].reason, "no");
  EXPECT_EQ(call->rejects[1].reason, "rejected");
}

TEST_F(PullRequestTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(why(PullKind::kLease, "{\"max_events\":0}"), HasSubstr("at least 1"));
  EXPECT_THAT(why(PullKind::kLease, "{\"wait_ms\":-1}"), HasSubstr("wait_ms"));
  EXPECT_THAT(why(PullKind::kLease, "{\"wait_ms\":1.5}"), HasSubstr("whole number"));
  EXPECT_THAT(why(PullKind::kLease, "7"), HasSubstr("object"));
  EXPECT_THAT(why(PullKind::kAck, "{}"), HasSubstr("\"lease\" is missing"));
  EXPECT_THAT(why(PullKind::kAck, "{\"lease\":7}"), HasSubstr("lease"));
  EXPECT_THAT(why(PullKind::kAck, "{\"lease\":\"L\",\"nack\":{}}"), HasSubstr("an array"));
  EXPECT_THAT(why(PullKind::kAck, "{\"lease\":\"L\",\"nack\":[{\"delay_seconds\":1}]}"),
              HasSubstr("seq"));
  EXPECT_THAT(why(PullKind::kAck, "{\"lease\":\"L\",\"reject\":[{\"seq\":\"0-1\",\"reason\":1}]}"),
              HasSubstr("reason"));
  EXPECT_THAT(why(PullKind::kSeek, "{}"), HasSubstr("\"to\" is missing"));
  EXPECT_THAT(why(PullKind::kSeek, "{\"to\":\"yesterday\"}"), HasSubstr("earliest"));
}

TEST_F(PullRequestTest, SeekTargets) {
  const auto kind = [&](std::string_view body) {
    const Status status = read(PullKind::kSeek, body);
    EXPECT_TRUE(status) << body;
    return call->seek.kind;
  };
  EXPECT_EQ(kind("{\"to\":\"earliest\"}"), SeekTarget::Kind::kEarliest);
  EXPECT_EQ(kind("{\"to\":\"latest\"}"), SeekTarget::Kind::kLatest);
  EXPECT_EQ(kind("{\"to\":\"2026-11-20T21:00:00Z\"}"), SeekTarget::Kind::kTime);
  EXPECT_EQ(call->seek.wall_ms, 1'795'208'400'000);
  for (const char* body : {"{\"to\":\"0-17,1-20\"}", "{\"to\":[\"0-17\",\"1-20\"]}"}) {
    EXPECT_EQ(kind(body), SeekTarget::Kind::kPositions);
    EXPECT_EQ(call->seek.positions, (std::vector<Position>{{0, 17}, {1, 20}}));
  }
}

TEST_F(PullRequestTest, TheBestEncodingTheClientTakes) {
  EXPECT_EQ(accepted_compression(""), Compression::kNone);
  EXPECT_EQ(accepted_compression("br, deflate"), Compression::kNone);
  EXPECT_EQ(accepted_compression("gzip"), Compression::kGzip);
  EXPECT_EQ(accepted_compression("gzip, deflate, br, ZSTD"), Compression::kZstd);
  EXPECT_EQ(accepted_compression("zstd;q=0, gzip;q=0.5"), Compression::kGzip);
  EXPECT_EQ(accepted_compression("gzip;q=0.0"), Compression::kNone);
}

TEST_F(PullRequestTest, NdjsonIsAskedForWithAccept) {
  ASSERT_TRUE(read(PullKind::kLease, "", {{"Accept", "application/x-ndjson"}}));
  EXPECT_EQ(call->format, forwarder::BodyFormat::kNdjson);
  ASSERT_TRUE(read(PullKind::kLease, "", {{"Accept", "*/*"}}));
  EXPECT_EQ(call->format, forwarder::BodyFormat::kJson);
}

}  // namespace
}  // namespace weir::pull
