// The event parser: for any bytes it must agree with the slow reading of the grammar, name a
// position inside the text when it refuses, and hand out members that lie inside it.
#include <cstdint>
#include <memory>
#include <string_view>

#include "collector/event/event_parser.h"
#include "storage/base/check.h"

namespace {

using weir::event::EventParser;
using weir::event::Scope;
using weir::event::Token;

void check_members(const EventParser& parser, weir::event::Arena& arena) {
  for (size_t scope = 0; scope < weir::event::kScopes; ++scope) {
    for (size_t word = 0; word < weir::event::kWords; ++word) {
      const auto s = static_cast<Scope>(scope);
      const auto w = static_cast<weir::event::Word>(word);
      if (!parser.has(s, w)) continue;
      const Token& token = parser.token(s, w);
      WEIR_CHECK(token.begin <= token.end && token.end <= parser.text().size());
      WEIR_CHECK(parser.value_text(token, arena).size() <= parser.raw(token).size());
    }
    Token storage;
    const Token* found = parser.find(static_cast<Scope>(scope), "a", &storage);
    WEIR_CHECK(found == nullptr ||
               (found->begin <= found->end && found->end <= parser.text().size()));
  }
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
  if (!valid) {
    WEIR_CHECK(parser.error().offset <= size);
    return 0;
  }
  if (parser.parse_object(text)) check_members(parser, arena);
  return 0;
}
