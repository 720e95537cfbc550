#include "forwarder/destinations/clickhouse_rows.h"

#include <gtest/gtest.h>

#include "tests/forwarder/sample_events.h"

namespace weir::forwarder {
namespace {

TEST(ClickhouseRows, ABatchIsTheGoldenFile) {
  auto compressor = Compressor::make(Compression::kNone);
  ClickhouseEncoder encoder(testing::kStoreId, **compressor);
  testing::expect_golden("batch.jsoneachrow", testing::encode_samples(encoder));
}

TEST(ClickhouseRows, ATimeThatDateTimeCannotHoldIsClampedAndKeptExactlyBeside) {
  auto compressor = Compressor::make(Compression::kNone);
  ClickhouseEncoder encoder("store", **compressor);
  std::string body;
  encoder.begin("b");
  for (const int64_t ms : {int64_t{-1}, int64_t{1}, int64_t{253'402'300'799'999}}) {
    EventFields fields;
    fields.timestamp_ms = ms;
    encoder.add({}, fields);
  }
  ASSERT_TRUE(encoder.finish(&body));
  EXPECT_NE(body.find("\"timestamp\":0,\"timestamp_ms\":-1,"), std::string::npos);
  EXPECT_NE(body.find("\"timestamp\":0,\"timestamp_ms\":1,"), std::string::npos);
  EXPECT_NE(body.find("\"timestamp\":4294967295,\"timestamp_ms\":253402300799999,"),
            std::string::npos);
}

}  // namespace
}  // namespace weir::forwarder
