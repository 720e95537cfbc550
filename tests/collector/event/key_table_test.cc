// What a configuration of keys becomes, and what it is refused for.
#include "collector/event/key_table.h"

#include <gmock/gmock.h>

namespace weir::event {
namespace {

using ::testing::HasSubstr;

KeyOptions key(const char* text) {
  KeyOptions options;
  options.key = text;
  return options;
}

std::string error_of(const std::vector<KeyOptions>& keys) {
  const auto table = KeyTable::build(keys);
  return table ? std::string() : table.error().message;
}

TEST(KeyTable, FindsKeysSitesAndTheDefault) {
  KeyOptions named = key("wk_1");
  named.site_ids = {"shop.example", "17"};
  const auto table = KeyTable::build({named, key("")});
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ((*table)->find("wk_1")->text, "wk_1");
  EXPECT_EQ((*table)->find("wk_2"), nullptr);
  EXPECT_EQ((*table)->find(""), nullptr);
  EXPECT_EQ((*table)->find_site("17")->text, "wk_1");
  EXPECT_EQ((*table)->find_site("18"), nullptr);
  ASSERT_NE((*table)->default_key(), nullptr);
  EXPECT_FALSE((*table)->open());
}

TEST(KeyTable, ATableWithOnlyTheDefaultKeyIsOpen) {
  const auto table = KeyTable::build({key("")});
  ASSERT_TRUE(table.has_value());
  EXPECT_TRUE((*table)->open());
  EXPECT_EQ((*table)->find("anything"), (*table)->default_key());
  const auto none = KeyTable::build({});
  ASSERT_TRUE(none.has_value());
  EXPECT_FALSE((*none)->open());
  EXPECT_EQ((*none)->find("anything"), nullptr);
}

TEST(KeyTable, SaysWhichEntryIsWrong) {
  EXPECT_THAT(error_of({key("a"), key("a")}), HasSubstr("keys[1]: the key is already used"));
  EXPECT_THAT(error_of({key(""), key("")}), HasSubstr("keys[1]: a second default key"));
  KeyOptions bad = key("a");
  bad.patterns = {{"campaign_id", "["}};
  EXPECT_THAT(error_of({bad}), HasSubstr("keys[0]: pattern of \"campaign_id\""));
  bad = key("a");
  bad.require = {"a b"};
  EXPECT_THAT(error_of({bad}), HasSubstr("is not a field name"));
  bad = key("a");
  bad.require = {"properties"};
  EXPECT_THAT(error_of({bad}), HasSubstr("cannot have a rule"));
  bad = key("a");
  bad.allow = {{"campaign_id", {}}};
  EXPECT_THAT(error_of({bad}), HasSubstr("is empty"));
  bad = key("a");
  bad.ack = {"flushed"};
  EXPECT_THAT(error_of({bad}), HasSubstr("ack level"));
  bad = key("a");
  bad.priority = "urgent";
  EXPECT_THAT(error_of({bad}), HasSubstr("priority"));
  bad = key("a");
  bad.origins = {"shop.example"};
  EXPECT_THAT(error_of({bad}), HasSubstr("origin"));
  bad = key("a");
  bad.tenant = "";
  EXPECT_THAT(error_of({bad}), HasSubstr("tenant"));
  bad = key("a");
  bad.content_hash = "md5";
  EXPECT_THAT(error_of({bad}), HasSubstr("content_hash"));
  bad = key("a");
  bad.site_ids = {"x"};
  KeyOptions other = key("b");
  other.site_ids = {"x"};
  EXPECT_THAT(error_of({bad, other}), HasSubstr("keys[1]: site id"));
}

TEST(KeyTable, OriginsCompareWithoutCaseAndKnowSubdomains) {
  KeyOptions options = key("a");
  options.origins = {"https://Shop.example", "https://*.cdn.example:8443"};
  const auto table = KeyTable::build({options});
  ASSERT_TRUE(table.has_value());
  const Key& found = *(*table)->find("a");
  EXPECT_TRUE(found.allows_origin("https://shop.EXAMPLE"));
  EXPECT_TRUE(found.allows_origin("https://a.b.cdn.example:8443"));
  EXPECT_FALSE(found.allows_origin("https://cdn.example:8443"));
  EXPECT_FALSE(found.allows_origin("https://xcdn.example:8443"));
  EXPECT_FALSE(found.allows_origin("https://a.cdn.example"));
  EXPECT_FALSE(found.allows_origin("null"));
  EXPECT_FALSE((*table)->any_allows_origin("https://other.example"));
}

}  // namespace
}  // namespace weir::event
