#include "forwarder/record_body.h"

#include <gtest/gtest.h>

#include "tests/forwarder/sample_events.h"

namespace weir::forwarder {
namespace {

TEST(RecordBody, GivesBackWhatWasPutIn) {
  RecordEncoder encoder(PartitionKey::kUser, testing::kStoreId);
  const std::string body = testing::encode_samples(encoder);
  std::string_view rest = body;
  Record record;
  ASSERT_TRUE(next_record(&rest, &record));
  EXPECT_EQ(record.key, "u1");
  EXPECT_EQ(record.tenant, "acme");
  EXPECT_EQ(record.id, "order-1");
  EXPECT_EQ(record.value.substr(0, 25), "{\"id\":\"order-1\",\"seq\":\"3-");
  EXPECT_EQ(record.value.find('\n'), std::string_view::npos);
  size_t more = 0;
  while (next_record(&rest, &record)) ++more;
  EXPECT_EQ(more, testing::sample_events().size() - 1);
  EXPECT_EQ(record.id, std::string(testing::kStoreId) + "-3-21");
  EXPECT_EQ(record.key, record.id);  // no user, no visitor, no session
}

TEST(RecordBody, AKeyFallsBackToWhatTheEventHas) {
  EventFields fields;
  fields.tenant = "t";
  EXPECT_EQ(record_key(PartitionKey::kUser, fields, "id"), "id");
  EXPECT_EQ(record_key(PartitionKey::kShop, fields, "id"), "id");
  fields.session_id = "s";
  EXPECT_EQ(record_key(PartitionKey::kUser, fields, "id"), "s");
  EXPECT_EQ(record_key(PartitionKey::kSession, fields, "id"), "s");
  fields.anonymous_id = "a";
  EXPECT_EQ(record_key(PartitionKey::kUser, fields, "id"), "a");
  EXPECT_EQ(record_key(PartitionKey::kAnonymous, fields, "id"), "a");
  fields.user_id = "u";
  fields.shop_id = "h";
  EXPECT_EQ(record_key(PartitionKey::kUser, fields, "id"), "u");
  EXPECT_EQ(record_key(PartitionKey::kShop, fields, "id"), "h");
  EXPECT_EQ(record_key(PartitionKey::kTenant, fields, "id"), "t");
  EXPECT_EQ(record_key(PartitionKey::kId, fields, "id"), "id");
  EXPECT_EQ(record_key(PartitionKey::kNone, fields, "id"), "");
}

}  // namespace
}  // namespace weir::forwarder
