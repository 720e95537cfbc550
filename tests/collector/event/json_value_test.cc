// Requests as JSON: what is there is found, whatever is around it.
#include "collector/event/json_value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace weir::event {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::map<std::string, std::string> members(std::string_view text) {
  std::map<std::string, std::string> found;
  JsonValue::check(text)->each_member([&](std::string_view name, JsonValue value) {
    found[std::string(name)] = value.text();
    return true;
  });
  return found;
}

std::vector<std::string> elements(std::string_view text) {
  std::vector<std::string> found;
  JsonValue::check(text)->each_element([&](JsonValue value) {
    found.emplace_back(value.text());
    return true;
  });
  return found;
}

TEST(JsonValue, MembersAreFoundWhateverTheyHold) {
  EXPECT_THAT(members(" {} "), ElementsAre());
  EXPECT_THAT(members("{\"a\":1}"), ElementsAre(Pair("a", "1")));
  EXPECT_THAT(
      members("\t{ \"a\" : {\"x\":[1,{\"}\":\"]\"}]} ,\n\"b\\u0031\":\"\\\"}\" , \"c\":null}"),
      ElementsAre(Pair("a", "{\"x\":[1,{\"}\":\"]\"}]}"), Pair("b1", "\"\\\"}\""),
                  Pair("c", "null")));
}

TEST(JsonValue, ElementsAreFoundWhateverTheyHold) {
  EXPECT_THAT(elements("[ ]"), ElementsAre());
  EXPECT_THAT(elements("[1, \"a,]\" ,[[]],{\"k\":\"]\"} ]"),
              ElementsAre("1", "\"a,]\"", "[[]]", "{\"k\":\"]\"}"));
}

TEST(JsonValue, AVisitThatSaysNoEndsTheWalk) {
  int seen = 0;
  JsonValue::check("[1,2,3]")->each_element([&](JsonValue) { return ++seen < 2; });
  EXPECT_EQ(seen, 2);
}

TEST(JsonValue, ScalarsAreReadOnlyAsWhatTheyAre) {
  EXPECT_EQ(JsonValue::check("\"a\\nb\"")->string(), "a\nb");
  EXPECT_EQ(JsonValue::check("17")->integer(), 17);
  EXPECT_EQ(JsonValue::check("-1")->integer(), -1);
  EXPECT_EQ(JsonValue::check("true")->boolean(), true);
  EXPECT_TRUE(JsonValue::check("null")->is_null());
  for (const char* text : {"1.5", "1e3", "99999999999999999999", "\"1\"", "[1]", "true"})
    EXPECT_FALSE(JsonValue::check(text)->integer()) << text;
  EXPECT_FALSE(JsonValue::check("17")->string());
  EXPECT_FALSE(JsonValue::check("1")->boolean());
}

TEST(JsonValue, WhatIsNotJsonIsToldWhere) {
  for (const char* text : {"", " ", "{", "{\"a\":}", "[1,]", "{}{}", "{\"a\" 1}", "\"\xff\""}) {
    const auto checked = JsonValue::check(text);
    ASSERT_FALSE(checked) << text;
    EXPECT_THAT(checked.error().message, HasSubstr("at byte")) << text;
  }
}

}  // namespace
}  // namespace weir::event
