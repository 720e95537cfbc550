#include "bench/load/request_source.h"

#include <gtest/gtest.h>

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
  for (const unsigned size : {400u, 1000u, 16'000u}) {
    LoadOptions made = options();
    made.event_bytes = size;
    RequestSource source(made, 0);
    std::string request;
    source.next(&request);
    EXPECT_EQ(body_of(request).size(), size);
  }
}

TEST(RequestSource, SegmentBatchesCarryMessageIds) {
  LoadOptions made = options();
  made.shape = Shape::kSegment;
  made.mix = {{1, 3}};
  RequestSource source(made, 0);
  std::string request;
  source.next(&request);
  EXPECT_EQ(request.rfind("POST /v1/batch ", 0), 0u);
  EXPECT_EQ(ids_in(body_of(request), "\"messageId\":\"").size(), 3u);
}

}  // namespace
}  // namespace weir::bench
