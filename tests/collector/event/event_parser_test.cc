// The fast parser against tables of texts that must pass or fail, and against the slow reading of
// the grammar on mutated input. Every table is run twice: as a whole text and as the value of a
// member nobody asks for, because that is where a parser that only looks where it must would err.
#include "collector/event/event_parser.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace weir::event {
namespace {

using namespace std::string_literals;

const std::vector<std::string>& valid_values() {
  static const std::vector<std::string> values = {
      "0",
      "-0",
      "1",
      "-1.5e+10",
      "1E5",
      "0e0",
      "123456789012345678901234567890",
      "1e999",
      "-1e-999",
      "0.0000000000000000000000000000000000000000001",
      "true",
      "false",
      "null",
      "\"\"",
      "\"a\"",
      R"("\"\\\/\b\f\n\r\t")",
      R"("é😀")",
      R"("\ud83d")",
      R"("\ude00x")",
      R"("\ud83d\ud83d")",
      R"("\u0000")",
      "\"\x7f\"",
      "\"\xe2\x80\xa8\"",
      "\"\xf4\x8f\xbf\xbf\"",
      "\"\xef\xbf\xbf\"",
      "\"\xef\xbb\xbf\"",
      "[]",
      "{}",
      "[ ]",
      "{ }",
      "[[[]]]",
      R"({"a":{"b":[1,"zwei",{"c":null}]}})",
      R"({"a":1,"a":2})",
      R"({"":0})",
      " [1 , 2]\n",
      "[\"}\",\"{\",\"]\",\"[\",\",\",\":\"]",
      R"(["\\","\\\"","\\\\"])",
      "[1]\t\r\n ",
      "[\"" + std::string(300, 'x') + "\"]",
      "[" + std::string(200, ' ') + "1]",
  };
  return values;
}

const std::vector<std::string>& invalid_values() {
  static const std::vector<std::string> values = {
      "",
      " ",
      "tru",
      "True",
      "nul",
      "truex",
      "true1",
      "nullnull",
      "NaN",
      "Infinity",
      "-",
      "+1",
      ".5",
      "1.",
      "1.e5",
      "01",
      "-01",
      "1e",
      "1e+",
      "0x1",
      "1_000",
      "1 2",
      "1a",
      "1\"a\"",
      "\"a\"1",
      "\"a\"\"b\"",
      "'a'",
      "a",
      "\"",
      "\"a",
      "\"\\\"",
      "\"\\",
      "\"\\x\"",
      "\"\\u12\"",
      "\"\\u12g4\"",
      "\"\\U0041\"",
      "\"\\ \"",
      "\"\n\"",
      "\"\t\"",
      "\"\x01\"",
      "\"\0\""s,
      "\"\x80\"",
      "\"\xc0\xaf\"",
      "\"\xe0\x80\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xf8\x88\x80\x80\x80\"",
      "\"\xe2\x82\"",
      "\xef\xbb\xbf{}",
      "[",
      "]",
      "{",
      "}",
      "[1",
      "[1,",
      "[,1]",
      "[1,]",
      "[1,,2]",
      "[1 2]",
      "[1:2]",
      "{\"a\"}",
      "{\"a\":}",
      "{\"a\":1,}",
      "{,}",
      "{\"a\":1,,\"b\":2}",
      "{a:1}",
      "{1:1}",
      "{\"a\" 1}",
      "{\"a\":1 \"b\":2}",
      "{\"a\":1]",
      "[1}",
      "{\"a\":1:2}",
      "{\"a\",\"b\"}",
      "[]]",
      "{}}",
      "[][]",
      "{}{}",
      "[] x",
      "[//\n1]",
      "[/**/1]",
      "[1]\0"s,
      "\\\"a\"",
      "[\\n]",
      "{\"a\":\\\"x\"}",
      "{\"a\":\"b\"c\"}",
      "[\"a\x1f\"]",
      "[\xc3\xa9]",
      "{\"\\x\":1}",
      "[-]",
      "[1,\"\\u\"]",
      "[\x0b"
      "1]",
      "[\xc2\xa0"
      "1]",
      "\"\\uD83D\\u12\"",
      ":",
      ",",
      "[:]",
      "{:}",
  };
  return values;
}

TEST(EventParser, AcceptsEveryValidValueWhereNobodyLooks) {
  EventParser parser;
  for (const std::string& value : valid_values()) {
    EXPECT_TRUE(parser.check_value(value)) << value;
    EXPECT_FALSE(find_syntax_error(value, kMaxDepth).found()) << value;
    const std::string event =
        R"({"name":"n","properties":{"x":)" + value + R"(},"y":)" + value + "}";
    EXPECT_TRUE(parser.parse_object(event)) << event;
  }
}

TEST(EventParser, RefusesEveryInvalidValueWhereNobodyLooks) {
  EventParser parser;
  for (const std::string& value : invalid_values()) {
    EXPECT_FALSE(parser.check_value(value)) << value;
    EXPECT_TRUE(find_syntax_error(value, kMaxDepth).found()) << value;
    for (const std::string& event : {R"({"name":"n","properties":{"x":)" + value + "}}",
                                     R"({"y":)" + value + R"(,"name":"n"})"}) {
      EXPECT_FALSE(parser.parse_object(event)) << event;
      const SyntaxError error = parser.error();
      EXPECT_TRUE(error.found());
      EXPECT_LE(error.offset, event.size());
      EXPECT_NE(error.reason, "invalid JSON") << event;
    }
  }
}

TEST(EventParser, SaysWhereAndWhy) {
  struct Case {
    std::string text;
    size_t offset;
    std::string_view reason;
  };
  const Case cases[] = {
      {R"({"a":1,})", 7, "expected a member name in quotes"},
      {R"({"a" 1})", 5, "expected ':' after the member name"},
      {R"({"a":1 "b":2})", 7, "expected ',' or '}'"},
      {R"({"a":[1 2]})", 8, "expected ',' or ']'"},
      {R"({"a":tru})", 5, "expected a value"},
      {R"({"a":01})", 5, "invalid number"},
      {"{\"a\":\"x\ny\"}", 7, "a control character inside a string has to be escaped"},
      {"{\"a\":\"x\xff\"}", 7, "invalid UTF-8"},
      {R"({"a":"\q"})", 6, "invalid escape sequence"},
      {R"({"a":1)", 6, "the text ends inside a value"},
      {R"({"a":"xyz)", 9, "the text ends inside a value"},
      {R"({"a":1} x)", 8, "unexpected text after the value"},
      {R"([1])", 0, "expected an object"},
      {R"(  "x")", 2, "expected an object"},
      {R"({"a":\u0041})", 5, "expected a value"},
  };
  EventParser parser;
  for (const Case& c : cases) {
    EXPECT_FALSE(parser.parse_object(c.text)) << c.text;
    EXPECT_EQ(parser.error().offset, c.offset) << c.text;
    EXPECT_EQ(parser.error().reason, c.reason) << c.text;
  }
}

TEST(EventParser, BoundsTheDepth) {
  const auto nested = [](unsigned depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EventParser parser;
  EXPECT_TRUE(parser.check_value(nested(kMaxDepth)));
  const std::string too_deep = nested(kMaxDepth + 1);
  EXPECT_FALSE(parser.check_value(too_deep));
  EXPECT_EQ(parser.error().reason, "nested too deeply");
  EXPECT_EQ(parser.error().offset, kMaxDepth);
  EXPECT_FALSE(parser.check_value(std::string(100'000, '[')));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(parser.check_value(objects));
  EventParser shallow(3);
  EXPECT_TRUE(shallow.parse_object(R"({"a":[{}]})"));
  EXPECT_FALSE(shallow.parse_object(R"({"a":[{"b":[]}]})"));
}

std::string text_of(EventParser& parser, Scope scope, Word word) {
  static Arena arena;
  if (!parser.has(scope, word)) return "(absent)";
  return std::string(parser.value_text(parser.token(scope, word), arena));
}

TEST(EventParser, FindsMembersInEachScope) {
  EventParser parser;
  ASSERT_TRUE(parser.parse_object(
      R"({ "messageId" : "m-1" , "event":"Bought \"it\"","userId":42,"anonymousId":null,
          "deep":{"name":"no"},"list":[{"name":"no"}],
          "properties":{"url":"https://x/?a=b","campaign_id":"c1","items":[{"url":"no"}],"price":1e3},
          "context":{"campaign":{"tracking_id":"t1","name":"camp"},"page":{"url":"u2","referrer":"r"},
                     "other":{"page":{"url":"no"}}} , "variant" : "B" })"));
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kMessageId), "m-1");
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kEvent), "Bought \"it\"");
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kUserId), "42");
  EXPECT_EQ(parser.token(Scope::kTop, Word::kAnonymousId).type, ValueType::kNull);
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kVariant), "B");
  EXPECT_FALSE(parser.has(Scope::kTop, Word::kName));
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kUrl), "https://x/?a=b");
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kCampaignIdSnake), "c1");
  EXPECT_EQ(text_of(parser, Scope::kCampaign, Word::kTrackingIdSnake), "t1");
  EXPECT_EQ(text_of(parser, Scope::kCampaign, Word::kName), "camp");
  EXPECT_EQ(text_of(parser, Scope::kPage, Word::kUrl), "u2");
  const Token& context = parser.token(Scope::kTop, Word::kContext);
  EXPECT_EQ(context.type, ValueType::kObject);
  EXPECT_EQ(parser.raw(context).front(), '{');
  EXPECT_EQ(parser.raw(context).back(), '}');
  Token storage;
  ASSERT_NE(parser.find(Scope::kProperties, "price", &storage), nullptr);
  EXPECT_EQ(parser.raw(storage), "1e3");
  EXPECT_EQ(parser.find(Scope::kProperties, "pric", &storage), nullptr);
  EXPECT_EQ(parser.find(Scope::kTop, "name", &storage), nullptr);
  ASSERT_NE(parser.find(Scope::kTop, "list", &storage), nullptr);
  EXPECT_EQ(storage.type, ValueType::kArray);
}

TEST(EventParser, TheLastOfRepeatedMembersCounts) {
  EventParser parser;
  ASSERT_TRUE(parser.parse_object(
      R"({"name":"a","properties":{"url":"u1","variant":"x"},"name":"b","properties":{"url":"u2"},
          "context":{"campaign":{"variant":"v"}},"context":7})"));
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kName), "b");
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kUrl), "u2");
  EXPECT_FALSE(parser.has(Scope::kProperties, Word::kVariant));
  EXPECT_FALSE(parser.has(Scope::kCampaign, Word::kVariant));
  Token storage;
  EXPECT_EQ(parser.find(Scope::kCampaign, "variant", &storage), nullptr);
}

TEST(EventParser, PropertiesBeatDataInEitherOrder) {
  EventParser parser;
  ASSERT_TRUE(parser.parse_object(R"({"data":{"url":"d"},"properties":{"url":"p"}})"));
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kUrl), "p");
  ASSERT_TRUE(
      parser.parse_object(R"({"properties":{"url":"p"},"data":{"url":"d","variant":"v"}})"));
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kUrl), "p");
  EXPECT_FALSE(parser.has(Scope::kProperties, Word::kVariant));
  ASSERT_TRUE(parser.parse_object(R"({"data":{"url":"d"}})"));
  EXPECT_EQ(text_of(parser, Scope::kProperties, Word::kUrl), "d");
}

TEST(EventParser, ReadsMemberNamesWithEscapes) {
  EventParser parser;
  ASSERT_TRUE(parser.parse_object(R"({"\u006eame":"x\u00e9\ud83d\ude00\ud83d"})"));
  EXPECT_EQ(text_of(parser, Scope::kTop, Word::kName), "x\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd");
}

TEST(EventParser, PrefersWordsInTheOrderOfTheTable) {
  EventParser parser;
  ASSERT_TRUE(parser.parse_object(R"({"type":"t","eventType":"et","event":"e"})"));
  const Token* name = parser.first(Scope::kTop, field_words(Field::kName));
  ASSERT_NE(name, nullptr);
  EXPECT_EQ(parser.raw(*name), "e");
}

// Mutates valid events and compares the two readings of the grammar.
TEST(EventParser, AgreesWithTheSlowCheckOnMutatedText) {
  const std::string seed =
      R"({"messageId":"m\"1","type":"track","n":[1,-2.5e3,true,null,{"k":"v\\"}],)"
      "\"properties\":{\"title\":\"Cr\xc3\xa8me \xf0\x9f\x9a\x80\",\"u\":\"\\ud83d\"} }";
  const std::string alphabet = "{}[]:,\"\\ \n\t0123456789.eE+-truefalsnu\xc3\xa8\xf0\x9f\x80\x01";
  std::mt19937 random(7);
  EventParser parser;
  int valid = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text = seed;
    const size_t edits = 1 + random() % 3;
    for (size_t e = 0; e < edits; ++e) {
      const size_t at = random() % text.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 4) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        case 2:
          text.erase(at, 1 + random() % 3);
          break;
        default:
          text.resize(at);
      }
      if (text.empty()) text = "x";
    }
    const bool slow = !find_syntax_error(text, kMaxDepth).found();
    const bool fast = parser.check_value(text);
    ASSERT_EQ(fast, slow) << text;
    valid += fast;
  }
  EXPECT_GT(valid, 1'000);
}

}  // namespace
}  // namespace weir::event
