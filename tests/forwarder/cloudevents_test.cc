#include "forwarder/cloudevents.h"

#include <gtest/gtest.h>

#include "forwarder/encoder.h"
#include "tests/forwarder/sample_events.h"

namespace weir::forwarder {
namespace {

std::string encode() {
  auto compressor = Compressor::make(Compression::kNone);
  CloudEventsEncoder encoder("edge-1", testing::kStoreId, **compressor);
  return testing::encode_samples(encoder);
}

TEST(CloudEvents, ABatchIsTheGoldenFile) {
  testing::expect_golden("batch.cloudevents.json", encode());
}

TEST(CloudEvents, DataIsTheClientsOwnObjectByteForByte) {
  EXPECT_NE(encode().find("\"datacontenttype\":\"application/json\",\"data\":" +
                          std::string(testing::full_event().raw) + "}"),
            std::string::npos);
}

TEST(CloudEvents, SourceIsTheTenantAsAUriReference) {
  const std::string body = encode();
  EXPECT_NE(body.find("\"id\":\"order-1\",\"source\":\"/acme\""), std::string::npos);
  EXPECT_NE(body.find("\"source\":\"/%3C%2Fscript%3E%E2%80%A8%C2%85\""), std::string::npos);
}

TEST(CloudEvents, BinaryIsData64) {
  EXPECT_NE(encode().find("\"data_base64\":\"CgQIARAC\"}"), std::string::npos);
}

TEST(CloudEvents, TheMediaTypeIsTheBatchFormats) {
  EXPECT_EQ(content_type(BodyFormat::kCloudEvents), "application/cloudevents-batch+json");
}

}  // namespace
}  // namespace weir::forwarder
