// The event parser: for any bytes it must agree with the slow reading of the grammar, name a
// position inside the text when it refuses, hand out members that lie inside it, and say the same
// of an object that it finds in a longer text.
#include <cstdint>
#include <memory>
#include <string_view>

#include "collector/event/event_parser.h"
#include "storage/base/check.h"

namespace {

using weir::event::EventParser;
using weir::event::Scope;
using weir::event::Token;

void check_members(const EventParser& parser, size_t size, weir::event::Arena& arena) {
  for (size_t scope = 0; scope < weir::event::kScopes; ++scope) {
    for (size_t word = 0; word < weir::event::kWords; ++word) {
      const auto s = static_cast<Scope>(scope);
      const auto w = static_cast<weir::event::Word>(word);
      if (!parser.has(s, w)) continue;
      const Token& token = parser.token(s, w);
      WEIR_CHECK(token.begin <= token.end && token.end <= size);
      WEIR_CHECK(parser.value_text(token, arena).size() <= parser.raw(token).size());
    }
    Token storage;
    const Token* found = parser.find(static_cast<Scope>(scope), "a", &storage);
    WEIR_CHECK(found == nullptr || (found->begin <= found->end && found->end <= size));
  }
}

// The object as one of several in a text: valid or not as alone, with the same members.
void check_among_others(const EventParser& alone, bool valid, std::string_view text,
                        weir::event::Arena& arena) {
  static EventParser parser;
  if (text.empty() || text.front() != '{') return;
  const bool begun = parser.begin_values(text);
  const size_t end = begun ? parser.parse_value(0) : 0;
  WEIR_CHECK(end <= text.size());
  if (end == text.size()) WEIR_CHECK(valid);
  if (!valid) return;
  WEIR_CHECK(end == text.find_last_of('}') + 1);
  for (size_t scope = 0; scope < weir::event::kScopes; ++scope)
    WEIR_CHECK(parser.present(static_cast<Scope>(scope)) ==
               alone.present(static_cast<Scope>(scope)));
  check_members(parser, text.size(), arena);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static EventParser parser;
  // An exact copy: a read outside of it is a finding.
  const std::unique_ptr<char[]> copy(new char[size]);
  std::copy(data, data + size, copy.get());
  const std::string_view text(copy.get(), size);
  weir::event::Arena arena;

  const weir::event::SyntaxError slow =
      weir::event::find_syntax_error(text, weir::event::kMaxDepth);
  const bool valid = parser.check_value(text);
  WEIR_CHECK(valid == !slow.found());
  if (!valid) WEIR_CHECK(parser.error().offset <= size);
  const bool object = parser.parse_object(text);
  WEIR_CHECK(valid || !object);
  if (object) check_members(parser, size, arena);
  check_among_others(parser, object, text, arena);
  return 0;
}
