// The destination format against golden files. Regenerate them with WEIR_WRITE_GOLDEN=1 and read
// the diff: receivers depend on every byte.
#include "forwarder/encoder.h"

#include <gtest/gtest.h>

#include "tests/forwarder/inflate.h"
#include "tests/forwarder/sample_events.h"

namespace weir::forwarder {
namespace {

using testing::encode_samples;
using testing::kBatchId;
using testing::kStoreId;

std::string encode(BodyFormat format, Compression compression = Compression::kNone) {
  auto compressor = Compressor::make(compression);
  JsonEncoder encoder(format, "edge-\"1\"", kStoreId, **compressor);
  return encode_samples(encoder);
}

TEST(Encoder, JsonIsTheGoldenFile) {
  testing::expect_golden("batch.json", encode(BodyFormat::kJson));
}

TEST(Encoder, NdjsonIsTheGoldenFile) {
  testing::expect_golden("batch.ndjson", encode(BodyFormat::kNdjson));
}

TEST(Encoder, AnEventThatTravelsAloneCarriesItsStore) {
  auto compressor = Compressor::make(Compression::kNone);
  JsonEncoder encoder(BodyFormat::kNdjson, "edge", kStoreId, **compressor, /*alone=*/true);
  EXPECT_NE(encode_samples(encoder).find(
                fmt::format(",\"seq\":\"3-17\",\"store_id\":\"{}\",\"tenant\"", kStoreId)),
            std::string::npos);
}

TEST(Encoder, RawIsByteForByteInJson) {
  const std::string body = encode(BodyFormat::kJson);
  EXPECT_NE(body.find("\"raw\":" + std::string(testing::full_event().raw) + "}"),
            std::string::npos);
  EXPECT_NE(body.find("\"envelope\":" + std::string(testing::full_event().envelope)),
            std::string::npos);
}

TEST(Encoder, NdjsonHasOneLinePerEventAndLosesOnlyLineBreaks) {
  const std::string body = encode(BodyFormat::kNdjson);
  EXPECT_EQ(static_cast<size_t>(std::count(body.begin(), body.end(), '\n')),
            testing::sample_events().size());
  EXPECT_EQ(body.find('\r'), std::string::npos);
  EXPECT_NE(body.find(R"({ "messageId" : "order-1",	"total": 10.50, "n":1e999,"s":"a\nb"})"),
            std::string::npos);
}

TEST(Encoder, AnEventWithoutIdGetsOneFromItsPosition) {
  EXPECT_NE(encode(BodyFormat::kJson)
                .find(fmt::format("{{\"id\":\"{}-3-18\",\"seq\":\"3-18\"", kStoreId)),
            std::string::npos);
}

TEST(Encoder, WithoutATimeOfItsOwnAnEventHasTheTimeItWasReceived) {
  EXPECT_NE(encode(BodyFormat::kJson)
                .find("\"name\":\"page_view\",\"source\":\"native\","
                      "\"timestamp\":\"2023-11-14T22:13:20.123Z\","
                      "\"received_at\":\"2023-11-14T22:13:20.123Z\""),
            std::string::npos);
}

TEST(Encoder, CompressedBodiesHoldTheSameText) {
  EXPECT_EQ(testing::gunzip(encode(BodyFormat::kJson, Compression::kGzip)),
            encode(BodyFormat::kJson));
  EXPECT_EQ(testing::unzstd(encode(BodyFormat::kNdjson, Compression::kZstd)),
            encode(BodyFormat::kNdjson));
}

}  // namespace
}  // namespace weir::forwarder
