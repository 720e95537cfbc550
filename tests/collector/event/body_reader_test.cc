// Shapes of bodies: what is cut out, what is refused and where, and that a body read in the
// smallest steps gives the same events as one read by a naive splitter.
#include "collector/event/body_reader.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace weir::event {
namespace {

using Kind = BodyError::Kind;
using Step = BodyReader::Step;

struct Read {
  std::vector<std::string> events;    // raw text, in order
  std::vector<std::string> rejected;  // "<index> <reason>"
  std::string envelope;
  bool head = false;
  BodyError error;
};

// The parser has the members of exactly this event, wherever it found them.
void expect_described(const EventParser& parser, std::string_view event) {
  EventParser alone;
  ASSERT_TRUE(alone.parse_object(event)) << event;
  for (size_t i = 0; i < kScopes; ++i) {
    const auto scope = static_cast<Scope>(i);
    ASSERT_EQ(parser.present(scope), alone.present(scope)) << event;
    for (size_t word = 0; word < kWords; ++word) {
      if (!alone.has(scope, static_cast<Word>(word))) continue;
      const Token& token = parser.token(scope, static_cast<Word>(word));
      const Token& expected = alone.token(scope, static_cast<Word>(word));
      EXPECT_EQ(token.type, expected.type) << event;
      EXPECT_EQ(parser.raw(token), alone.raw(expected)) << event;
      Arena arena;
      EXPECT_EQ(parser.value_text(token, arena), alone.value_text(expected, arena)) << event;
    }
  }
  Token here;
  Token there;
  const Token* const found = parser.find(Scope::kTop, "list", &here);
  const Token* const expected = alone.find(Scope::kTop, "list", &there);
  ASSERT_EQ(found != nullptr, expected != nullptr) << event;
  if (found != nullptr) {
    EXPECT_EQ(parser.raw(*found), alone.raw(*expected)) << event;
  }
}

Read read_all(std::string_view body, const BodyPlan& plan = {}, Limits limits = {}) {
  EventParser parser(limits.depth);
  BodyReader reader(parser, limits);
  // An exact copy on the heap: a byte read outside of it is a finding of the sanitizer.
  const std::unique_ptr<char[]> copy(new char[body.size()]);
  std::copy(body.begin(), body.end(), copy.get());
  reader.start({copy.get(), body.size()}, plan);
  Arena arena;
  Read read;
  for (;;) {
    switch (reader.next()) {
      case Step::kMore:
        break;
      case Step::kHead:
        read.head = true;
        read.envelope = reader.envelope(arena);
        break;
      case Step::kEvent:
        EXPECT_EQ(reader.index(), read.events.size() + read.rejected.size());
        expect_described(parser, reader.event());
        read.events.emplace_back(reader.event());
        break;
      case Step::kRejected:
        read.rejected.push_back(std::to_string(reader.index()) + " " +
                                std::string(reader.rejection().reason));
        break;
      case Step::kEnd:
        return read;
      case Step::kError:
        read.error = reader.error();
        return read;
    }
  }
}

const BodyPlan kBatch{BodyPlan::Kind::kWrapper, "batch", false, false};
const BodyPlan kOne{BodyPlan::Kind::kOneObject, "events", false, false};
const BodyPlan kDirect{BodyPlan::Kind::kWrapper, "event", true, false};
const BodyPlan kLines{BodyPlan::Kind::kNative, "events", false, true};
using Strings = std::vector<std::string>;

TEST(BodyReader, TellsTheShapesOfNativeBodiesApart) {
  EXPECT_EQ(read_all(R"({"name":"a"})").events, Strings{R"({"name":"a"})"});
  EXPECT_EQ(read_all(" \n{\"name\":\"a\"}\n").events, Strings{R"({"name":"a"})"});
  EXPECT_EQ(read_all("\xef\xbb\xbf{\"name\":\"a\"}").events, Strings{R"({"name":"a"})"});
  EXPECT_EQ(read_all(R"([{"a":1}, {"b":[2]} ])").events, (Strings{R"({"a":1})", R"({"b":[2]})"}));
  EXPECT_TRUE(read_all("[]").events.empty());
  EXPECT_EQ(read_all("[]").error.kind, Kind::kNone);
  const Read wrapper =
      read_all(R"({"shop":"s","token":"secret","events":[{"a":1},{"b":2}],"sentAt":"now"})");
  EXPECT_TRUE(wrapper.head);
  EXPECT_EQ(wrapper.events, (Strings{R"({"a":1})", R"({"b":2})"}));
  EXPECT_EQ(wrapper.envelope, R"({"shop":"s","sentAt":"now"})");
  EXPECT_EQ(read_all("{\"a\":1}\n\n{\"b\":2}\r\n").events, (Strings{R"({"a":1})", R"({"b":2})"}));
}

TEST(BodyReader, AnEventMayHaveAMemberCalledEvents) {
  for (const std::string& filler : {std::string(), std::string(9'000, 'x')}) {
    const std::string named = R"({"events":[1,2],"name":"n","f":")" + filler + "\"}";
    EXPECT_EQ(read_all(named, {}, {.event_bytes = 1 << 20}).events, Strings{named});
    const std::string object = R"({"events":{"a":1},"f":")" + filler + "\"}";
    EXPECT_EQ(read_all(object, {}, {.event_bytes = 1 << 20}).events, Strings{object});
  }
}

TEST(BodyReader, TakesWrappersApart) {
  const Read read =
      read_all(R"( { "writeKey" : "k" , "batch" : [ {"a":1} ] , "n" : -1.5 } )", kBatch);
  EXPECT_EQ(read.events, Strings{R"({"a":1})"});
  EXPECT_EQ(read.envelope, R"({"n":-1.5})");
  EXPECT_TRUE(read_all(R"({"batch":[]})", kBatch).head);
  EXPECT_EQ(read_all(R"({})", kBatch).error.kind, Kind::kMissingBatch);
  EXPECT_EQ(read_all(R"({"batch":{}})", kBatch).error.kind, Kind::kMissingBatch);
  EXPECT_EQ(read_all(R"([])", kBatch).error.kind, Kind::kNotAnObject);
  EXPECT_EQ(read_all(R"({"batch":[],"batch":[]})", kBatch).error.kind, Kind::kSyntax);
  EXPECT_EQ(read_all(R"({"sessionId":"s","event":{"x":[]}})", kDirect).events,
            Strings{R"({"x":[]})"});
  EXPECT_EQ(read_all(R"({"sessionId":"s","event":[]})", kDirect).error.kind, Kind::kMissingBatch);
  EXPECT_EQ(read_all(R"({"a":[1]})", kOne).events, Strings{R"({"a":[1]})"});
}

// Elements of an array share windows of 16 KiB; these bodies are several windows long.
std::string long_array(std::mt19937& random, Strings* events, const std::string& odd, int at) {
  std::string body = "[";
  for (int i = 0; i < 300; ++i) {
    std::string event =
        R"({"id":"e)" + std::to_string(i) + R"(","name":"n","properties":{"url":"u)";
    event += std::string(random() % 300, 'x');
    if (random() % 4 == 0) event += R"(\"},{\"\u00e9\\)";
    event += R"("},"list":[{"a":1},{"b":"},{"}],"userId":)" + std::to_string(random()) + "}";
    if (i == at) event = odd;
    if (i > 0) body += random() % 2 == 0 ? "," : " ,\n ";
    body += event;
    if (event.front() == '{') events->push_back(event);
  }
  return body + "]";
}

TEST(BodyReader, ReadsLongArraysAsElementByElement) {
  std::mt19937 random(7);
  const std::string large = R"({"name":")" + std::string(20'000, '"' - 1) + R"("})";
  for (const std::string& odd : {std::string("{}"), std::string("7"), large})
    for (const int at : {0, 1, 150, 299}) {
      Strings events;
      const std::string body = long_array(random, &events, odd, at);
      const Read read = read_all(body, {}, {.event_bytes = 1 << 20});
      EXPECT_EQ(read.error.kind, Kind::kNone) << read.error.reason;
      EXPECT_EQ(read.events, events);
      EXPECT_EQ(read.rejected.size(), odd == "7" ? 1u : 0u);
    }
}

TEST(BodyReader, ReportsTheFaultOfALongArrayWhereItIs) {
  std::mt19937 random(8);
  const Strings faults = {R"({"a":"\x"})", "{\"a\":\"\xff\"}", R"({"a" 1})", R"({"a":"x})",
                          R"({"a":1})" + std::string(1, '\x01')};
  for (const std::string& fault : faults)
    for (const int at : {0, 1, 150, 299}) {
      Strings events;
      const std::string body = long_array(random, &events, fault, at);
      const Read read = read_all(body);
      EXPECT_EQ(read.error.kind, Kind::kSyntax) << fault;
      EXPECT_GE(read.error.offset, body.find(fault)) << fault;
      const size_t before = static_cast<size_t>(at);
      ASSERT_GE(read.events.size(), before) << fault;
      EXPECT_TRUE(std::equal(events.begin(), events.begin() + at, read.events.begin())) << fault;
    }
}

TEST(BodyReader, AnEventLargerThanAllowedIsRefusedInALongArrayToo) {
  std::mt19937 random(9);
  Strings events;
  const std::string large = R"({"name":")" + std::string(2'000, 'x') + R"("})";
  const std::string body = long_array(random, &events, large, 150);
  EXPECT_EQ(read_all(body, {}, {.event_bytes = 1'000}).error.kind, Kind::kEventTooLarge);
}

TEST(BodyReader, RejectsElementsThatAreNoObjects) {
  const Read read = read_all(R"([1,{"a":1},"x",null,[2],true])");
  EXPECT_EQ(read.events, Strings{R"({"a":1})"});
  EXPECT_EQ(read.rejected, (Strings{"0 not_an_object", "2 not_an_object", "3 not_an_object",
                                    "4 not_an_object", "5 not_an_object"}));
}

TEST(BodyReader, ALineOfNdjsonStandsForItself) {
  const Read read = read_all("{\"a\":1}\n{\"b\":}\n[]\n \n{\"c\":3}", kLines);
  EXPECT_EQ(read.events, (Strings{R"({"a":1})", R"({"c":3})"}));
  EXPECT_EQ(read.rejected, (Strings{"1 invalid_json", "2 not_an_object"}));
  EXPECT_EQ(read.error.kind, Kind::kNone);
  const Read large =
      read_all("{\"a\":\"" + std::string(200, 'x') + "\"}\n{}", kLines, {.event_bytes = 100});
  EXPECT_EQ(large.rejected, Strings{"0 event_too_large"});
  EXPECT_EQ(large.events, Strings{"{}"});
}

TEST(BodyReader, SaysWhereABodyIsWrong) {
  struct Case {
    std::string body;
    BodyPlan plan;
    Kind kind;
    size_t offset;
  };
  const Case cases[] = {
      {"", {}, Kind::kEmpty, 0},
      {" \n ", {}, Kind::kEmpty, 3},
      {"x", {}, Kind::kSyntax, 0},
      {"\"x\"", {}, Kind::kNotAnObject, 0},
      {"17", kBatch, Kind::kNotAnObject, 0},
      {R"([{"a":1},{"b":}])", {}, Kind::kSyntax, 14},
      {R"([{"a":1} {"b":2}])", {}, Kind::kSyntax, 9},
      {R"([{"a":1},])", {}, Kind::kSyntax, 9},
      {R"([{"a":1}] x)", {}, Kind::kSyntax, 10},
      {R"([{"a":1})", {}, Kind::kSyntax, 8},
      {R"([{"a":1},)", {}, Kind::kSyntax, 9},
      {R"([{"a":1},{"b":2)", {}, Kind::kSyntax, 15},
      {R"({"name":"x"} y)", {}, Kind::kSyntax, 13},
      {R"({"name":"x","a":tru})", {}, Kind::kSyntax, 16},
      {"\xef\xbb\xbf{\"a\":x}", {}, Kind::kSyntax, 8},
      {"\xef\xbb\xbf\xef\xbb\xbf{}", {}, Kind::kSyntax, 3},
      {"\xfe\xff", {}, Kind::kSyntax, 0},
      {R"({"batch":[{}],})", kBatch, Kind::kSyntax, 14},
      {R"({"batch":[{}] "x":1})", kBatch, Kind::kSyntax, 14},
      {R"({"batch":[{}],"x":tru})", kBatch, Kind::kSyntax, 18},
      {R"({"batch":[{}],"x":{"y":01}})", kBatch, Kind::kSyntax, 23},
      {R"({"batch":[{}],"\q":1})", kBatch, Kind::kSyntax, 15},
      {R"({"batch":[{]})", kBatch, Kind::kSyntax, 11},
      {R"({"batch":[{}})", kBatch, Kind::kSyntax, 12},
      {R"({"batch":[{}]}{)", kBatch, Kind::kSyntax, 14},
      {R"({"batch" [{}]})", kBatch, Kind::kSyntax, 9},
      {R"({,"batch":[{}]})", kBatch, Kind::kSyntax, 1},
      {"{\"sessionId\":\"s\",\"event\":{\"x\":\"\x01\"}}", kDirect, Kind::kSyntax, 31},
  };
  for (const Case& c : cases) {
    const Read read = read_all(c.body, c.plan);
    EXPECT_EQ(read.error.kind, c.kind) << c.body;
    EXPECT_EQ(read.error.offset, c.offset) << c.body << ": " << read.error.reason;
    EXPECT_FALSE(read.error.reason.empty()) << c.body;
  }
}

TEST(BodyReader, EnforcesItsLimits) {
  Limits limits;
  limits.event_bytes = 50;
  limits.events = 3;
  limits.envelope_bytes = 20;
  const std::string large = "{\"a\":\"" + std::string(50, 'x') + "\"}";
  EXPECT_EQ(read_all(large, {}, limits).error.kind, Kind::kEventTooLarge);
  EXPECT_EQ(read_all(large, kOne, limits).error.kind, Kind::kEventTooLarge);
  EXPECT_EQ(read_all("[{}," + large + "]", {}, limits).error.kind, Kind::kEventTooLarge);
  EXPECT_EQ(read_all("[{},{},{}]", {}, limits).events.size(), 3u);
  EXPECT_EQ(read_all("[{},{},{},{}]", {}, limits).error.kind, Kind::kTooManyEvents);
  EXPECT_EQ(read_all(R"({"batch":[],"x":"0123456789"})", kBatch, limits).error.kind, Kind::kNone);
  EXPECT_EQ(read_all(R"({"batch":[],"x":"01234567890123456"})", kBatch, limits).error.kind,
            Kind::kEnvelopeTooLarge);
  std::string members = "{\"batch\":[]";
  for (int i = 0; i < 300; ++i) members += ",\"x\":1";
  EXPECT_EQ(read_all(members + "}", kBatch).error.kind, Kind::kEnvelopeTooLarge);
}

// ---- against a naive splitter

// Elements of the outermost array of a valid text, found bracket by bracket.
Strings naive_elements(std::string_view text) {
  Strings elements;
  int depth = 0;
  bool in_string = false;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') {
      if (depth == 1 && c == '{') begin = i;
      ++depth;
    }
    if (c == '}' || c == ']') {
      --depth;
      if (depth == 1 && c == '}') elements.emplace_back(text.substr(begin, i + 1 - begin));
    }
  }
  return elements;
}

std::string random_value(std::mt19937& random, int depth) {
  static const char* const kScalars[] = {
      "1",          "-2.5e3",   "true",     "null",         "\"\"",
      "\"a\\\"b\"", "\"}{][\"", "\"\\\\\"", "\"\xc3\xa9\"", "\" , : \""};
  const auto kind = depth > 3 ? 9 : random() % 10;
  if (kind > 2) return kScalars[random() % std::size(kScalars)];
  std::string text = kind == 0 ? "[" : "{";
  const size_t members = random() % 5;
  for (size_t i = 0; i < members; ++i) {
    if (i > 0) text += random() % 2 ? "," : " ,\n";
    if (kind != 0) text += "\"k\\\"" + std::to_string(i) + "\": ";
    text += random_value(random, depth + 1);
  }
  return text + (kind == 0 ? "]" : "}");
}

std::string random_array(std::mt19937& random) {
  std::string text = "[";
  const size_t events = random() % 12;
  for (size_t i = 0; i < events; ++i) {
    if (i > 0) text += random() % 2 ? "," : "\t, ";
    text += "{\"v\":" + random_value(random, 0) + "}";
  }
  return text + "]";
}

TEST(BodyReader, CutsLikeTheNaiveSplitter) {
  std::mt19937 random(3);
  for (int round = 0; round < 3'000; ++round) {
    const std::string array = random_array(random);
    EXPECT_EQ(read_all(array).events, naive_elements(array)) << array;
    const std::string wrapper = R"({"x":{"y":"]}"},"batch":)" + array + R"(,"z":"{["})";
    const Read read = read_all(wrapper, kBatch);
    EXPECT_EQ(read.events, naive_elements(array)) << wrapper;
    EXPECT_EQ(read.envelope, R"({"x":{"y":"]}"},"z":"{["})");
  }
}

// Whatever the mutation: the body ends without an error exactly if it is grammatical.
TEST(BodyReader, AcceptsExactlyGrammaticalBodies) {
  std::mt19937 random(5);
  const std::string alphabet = "{}[]:,\"\\ 01e.-tn";
  int valid = 0;
  for (int round = 0; round < 30'000; ++round) {
    const bool wrapped = round % 2 != 0;
    std::string body = random_array(random);
    if (wrapped) body = R"({"x":[1,{"y":null}],"batch":)" + body + R"(,"z":"q"})";
    for (size_t edits = random() % 3; edits > 0; --edits) {
      const size_t at = random() % body.size();
      const char c = alphabet[random() % alphabet.size()];
      if (random() % 2)
        body[at] = c;
      else
        body.insert(at, 1, c);
    }
    const bool grammatical = !find_syntax_error(body, kMaxDepth).found();
    const Read read = read_all(body, wrapped ? kBatch : BodyPlan{});
    // A limit may be met first (limits are small in the preset tiny).
    if (read.error.kind != Kind::kNone && read.error.kind != Kind::kSyntax &&
        read.error.kind != Kind::kMissingBatch && read.error.kind != Kind::kNotAnObject)
      continue;
    const bool accepted = read.error.kind != Kind::kSyntax;
    // A repeated batch member is refused although JSON allows it; a native object followed by
    // another one on a new line is NDJSON.
    if (read.error.reason == "the member with the events is repeated") continue;
    if (!wrapped && body.front() != '[') continue;
    EXPECT_EQ(accepted, grammatical) << body << "\n" << read.error.offset << read.error.reason;
    valid += accepted;
  }
  EXPECT_GT(valid, 5'000);
}

}  // namespace
}  // namespace weir::event
