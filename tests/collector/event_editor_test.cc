// Editing a failed event: the object changes, and with it the fields it names; the rest stays.
#include "collector/event_editor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/base/event_record.h"

namespace weir {
namespace {

using ::testing::HasSubstr;

std::string record() {
  EventFields fields;
  fields.id = "e1";
  fields.name = "bought";
  fields.tenant = "acme";
  fields.source = "native";
  fields.campaign_id = "c1";
  std::string out;
  append_event_head(out, fields);
  return out + R"({"id":"e1","name":"bought","price":"one"})";
}

TEST(EventEditor, TakesTheNewObjectAndTheFieldsItNames) {
  const auto edited =
      edit_event_record(record(), R"({"id":"other","name":"sold","price":1,"userId":"u"})");
  ASSERT_TRUE(edited.has_value()) << edited.error().message;
  EventFields fields;
  ASSERT_TRUE(decode_event_record(*edited, &fields));
  EXPECT_EQ(fields.name, "sold");
  EXPECT_EQ(fields.user_id, "u");
  EXPECT_EQ(fields.campaign_id, "c1");
  EXPECT_EQ(fields.tenant, "acme");
  EXPECT_EQ(fields.raw, R"({"id":"other","name":"sold","price":1,"userId":"u"})");
}

TEST(EventEditor, KeepsTheIdReceiversKnow) {
  const auto edited = edit_event_record(record(), R"({"id":"other","name":"sold"})");
  EventFields fields;
  ASSERT_TRUE(edited && decode_event_record(*edited, &fields));
  EXPECT_EQ(fields.id, "e1");
}

TEST(EventEditor, RefusesWhatIsNotAnObject) {
  for (const char* bad : {"", "[]", "{", "{} {}", "{\"a\":}", "text"}) {
    const auto edited = edit_event_record(record(), bad);
    ASSERT_FALSE(edited.has_value()) << bad;
    EXPECT_THAT(edited.error().message, HasSubstr("not one JSON object"));
  }
}

TEST(EventEditor, RefusesARecordItCannotRead) {
  EXPECT_FALSE(edit_event_record("\x7f\x7f\x7f", "{}").has_value());
}

}  // namespace
}  // namespace weir
