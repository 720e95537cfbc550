#include "bench/load/request_source.h"

#include <gtest/gtest.h>
#include <simdjson.h>
#include <zstd.h>

#include <set>

namespace weir::bench {
namespace {

LoadOptions options() {
  LoadOptions made;
  made.run_id = "run";
  EXPECT_TRUE(parse_url("http://127.0.0.1:1/v1/events", &made.url));
  return made;
}

std::string body_of(const std::string& request) {
  const size_t end = request.find("\r\n\r\n");
  const size_t length_at = request.find("Content-Length: ") + 16;
  const std::string body = request.substr(end + 4);
  EXPECT_EQ(std::stoul(request.substr(length_at)), body.size());
  return body;
}

std::vector<std::string> ids_in(const std::string& body, const std::string& field) {
  std::vector<std::string> ids;
  for (size_t at = 0; (at = body.find(field, at)) != std::string::npos;) {
    at += field.size();
    ids.push_back(body.substr(at, body.find('"', at) - at));
  }
  return ids;
}

TEST(RequestSource, EveryIdIsNewUnlessDuplicatesAreAskedFor) {
  LoadOptions made = options();
  made.mix = {{1, 10}};
  RequestSource source(made, 3);
  std::set<std::string> ids;
  std::string request;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(source.next(&request).events, 10u);
    for (const std::string& id : ids_in(body_of(request), "\"id\":\""))
      EXPECT_TRUE(ids.insert(id).second);
  }
  EXPECT_EQ(ids.size(), 500u);
  EXPECT_EQ(source.ids_used(), 500u);
  EXPECT_TRUE(ids.count(source.id_text(499)));
}

TEST(RequestSource, DuplicatesAreCountedAndRepeatAnEarlierId) {
  LoadOptions made = options();
  made.duplicates = 0.5;
  RequestSource source(made, 0);
  std::string request;
  unsigned duplicates = 0;
  for (int i = 0; i < 1000; ++i) duplicates += source.next(&request).duplicates;
  EXPECT_EQ(source.ids_used() + duplicates, 1000u);
  EXPECT_NEAR(duplicates, 500, 80);
}

TEST(RequestSource, AnEventHasTheSizeAskedFor) {
  for (const unsigned size : {200u, 400u, 1000u, 16'000u}) {
    LoadOptions made = options();
    made.mix = {{1, 1, size}};
    RequestSource source(made, 0);
    std::string request;
    source.next(&request);
    EXPECT_EQ(body_of(request).size(), size);
  }
}

TEST(RequestSource, IdsAreUuidsWhenTheRunIdIs) {
  LoadOptions made = options();
  made.run_id = "0123abcd";
  EXPECT_EQ(RequestSource(made, 7).id_text(42), "0123abcd-0007-4000-8000-000000000042");
}

TEST(RequestSource, SegmentBatchesCarryMessageIds) {
  LoadOptions made = options();
  made.url.has_path = false;
  made.shape = "segment";
  made.mix = {{1, 3}};
  RequestSource source(made, 0);
  std::string request;
  source.next(&request);
  EXPECT_EQ(request.rfind("POST /v1/batch ", 0), 0u);
  EXPECT_EQ(ids_in(body_of(request), "\"messageId\":\"").size(), 3u);
  EXPECT_NE(request.find("Authorization: Basic YmVuY2g6\r\n"), std::string::npos);  // "bench:"
}

TEST(RequestSource, EveryShapeIsWhatItSaysItIs) {
  for (const RequestShape& shape : request_shapes()) {
    for (const unsigned batch : {1u, 4u}) {
      if (batch > 1 && !shape.batches) continue;
      LoadOptions made = options();
      made.url.has_path = false;
      made.shape = shape.name;
      made.keys = {"key-1"};
      made.mix = {{1, batch, 3000}};
      RequestSource source(made, 0);
      std::string request;
      EXPECT_EQ(source.next(&request).events, batch) << shape.name;
      for (unsigned i = 0; i < batch; ++i)
        EXPECT_NE(request.find(source.id_text(i)), std::string::npos) << shape.name;
      EXPECT_TRUE(request.find("key-1") != std::string::npos ||
                  request.find("a2V5LTE6") != std::string::npos)  // base64 of "key-1:"
          << shape.name;
      for (const char* mark : {"@ID@", "@KEY@", "@BASIC@", "@FILL@"})
        EXPECT_EQ(request.find(mark), std::string::npos) << shape.name;
      if (shape.get || shape.name == "ndjson") continue;
      simdjson::dom::parser parser;
      EXPECT_EQ(parser.parse(body_of(request)).error(), simdjson::SUCCESS)
          << shape.name << " " << body_of(request);
    }
  }
}

TEST(RequestSource, KeysAreUsedInTurnAlsoInCompressedRequests) {
  for (const BodyCoding coding : {BodyCoding::kNone, BodyCoding::kGzip, BodyCoding::kZstd}) {
    LoadOptions made = options();
    made.keys = {"a", "b"};
    made.coding = coding;
    RequestSource source(made, 0);
    std::string request;
    for (const char* key : {"a", "b", "a"}) {
      source.next(&request);
      EXPECT_NE(request.find(std::string("X-Write-Key: ") + key + "\r\n"), std::string::npos);
    }
  }
}

TEST(RequestSource, CompressedBodiesExpandToTheEvent) {
  LoadOptions made = options();
  made.coding = BodyCoding::kZstd;
  RequestSource source(made, 0);
  std::string request;
  source.next(&request);
  const std::string body = body_of(request);
  std::string plain(1000, '\0');
  plain.resize(ZSTD_decompress(plain.data(), plain.size(), body.data(), body.size()));
  EXPECT_EQ(plain.size(), 400u);
  EXPECT_NE(plain.find(source.id_text(0)), std::string::npos);
  EXPECT_NE(request.find("Content-Encoding: zstd\r\n"), std::string::npos);
}

TEST(RequestSource, MalformedRequestsAreCountedApart) {
  LoadOptions made = options();
  made.malformed = 0.5;
  RequestSource source(made, 0);
  std::string request;
  unsigned malformed = 0;
  for (int i = 0; i < 1000; ++i) {
    const MadeRequest one = source.next(&request);
    malformed += one.malformed ? 1 : 0;
    EXPECT_EQ(one.events, one.malformed ? 0u : 1u);
  }
  EXPECT_NEAR(malformed, 500, 80);
}

}  // namespace
}  // namespace weir::bench
