// Checks one event completely and finds the members Weir knows, in one pass. simdjson finds the
// structure (structure.h); the walk over it checks every token, whether somebody wants it or not,
// so what is kept as `raw` is valid JSON as a whole.
// Path: hot (once per event).  Thread: one owner (one parser per reactor).
//
// Accepted although some parsers refuse it: numbers of any size and precision, lone surrogate
// escapes, \u0000, repeated member names (the last one counts, as in JSON.parse).
#pragma once

#include <cstdint>
#include <string_view>

#include "collector/event/arena.h"
#include "collector/event/json_text.h"
#include "collector/event/limits.h"
#include "collector/event/structure.h"
#include "collector/event/words.h"

namespace weir::event {

// Those that have a text first.
enum class ValueType : uint8_t { kString, kNumber, kTrue, kFalse, kNull, kObject, kArray };

// A value inside the parsed text.
struct Token {
  uint32_t begin = 0;  // of a string: behind its quote
  uint32_t end = 0;    // of a string: at its quote
  ValueType type = ValueType::kNull;
};

// The objects in which members are looked at.
enum class Scope : uint8_t {
  kTop,         // the event itself
  kProperties,  // its properties (or data)
  kContext,     // its context
  kCampaign,    // context.campaign
  kPage,        // context.page
  kOther,
};
constexpr size_t kScopes = static_cast<size_t>(Scope::kOther);

class EventParser {
 public:
  explicit EventParser(unsigned max_depth = kMaxDepth);
  void set_max_depth(unsigned max_depth) { max_depth_ = max_depth; }  // at most kMaxDepth

  // Checks that text is one JSON object, surrounding white space allowed. Afterwards the
  // accessors below describe it, until the next call. LIFETIME: text stays alive as long.
  bool parse_object(std::string_view text);
  // Checks that text is one JSON value of any type.
  bool check_value(std::string_view text);
  // Where and why the last call of these two said no.
  SyntaxError error() const;

  // Objects that stand one behind the other in one text: the structure of all of it is found at
  // once, which costs a third less than one by one. False: nothing is said about any of them (a
  // string that does not end, bad UTF-8 somewhere). LIFETIME: text stays alive as long.
  bool begin_values(std::string_view text);
  // Checks the object that begins so many bytes into that text, and says where it ends: 0 when it
  // is no object, not valid or not whole. The accessors below describe it then; tokens count from
  // the beginning of the text. REQUIRES: begin ascends.
  size_t parse_value(size_t begin);
  // Whether begin_values() is still the last call but for parse_value() is seen by this number:
  // all other calls change it.
  uint64_t structure_id() const { return structure_id_; }

  // The words present in a scope, as word_bit()s.
  uint64_t present(Scope scope) const { return scopes_[index(scope)].present; }
  bool has(Scope scope, Word word) const { return present(scope) & word_bit(word); }
  // REQUIRES: has(scope, word).
  const Token& token(Scope scope, Word word) const {
    return scopes_[index(scope)].tokens[static_cast<size_t>(word)];
  }
  // The preferred one of several words, null when none is present.
  const Token* first(Scope scope, uint64_t words) const;
  // A member by any name, the last one if repeated; null when absent.
  const Token* find(Scope scope, std::string_view name, Token* storage) const;

  std::string_view raw(const Token& token) const {
    return text_.substr(token.begin, token.end - token.begin);
  }
  // Strings decoded, numbers as written, everything else empty.
  std::string_view value_text(const Token& token, Arena& arena) const {
    if (token.type == ValueType::kString && may_be_escaped(token.begin, token.end))
      return decode_string(raw(token), arena);
    return token.type <= ValueType::kNumber ? raw(token) : std::string_view{};
  }

 private:
  friend class Walk;
  struct ScopeMembers {
    uint64_t present = 0;
    uint32_t first_structural = 0;  // of the object's brace
    Token tokens[kWords];
  };
  bool has_escapes() const { return first_escape_ <= last_escape_; }
  bool may_be_escaped(uint32_t begin, uint32_t end) const {
    return begin <= last_escape_ && end > first_escape_;
  }
  static size_t index(Scope scope) { return static_cast<size_t>(scope); }
  bool parse(std::string_view text, bool object);
  void find_escapes();
  void skip_escapes_before(size_t begin);
  Token member_value(uint32_t structural) const;  // containers: only their beginning is exact

  unsigned max_depth_;
  StructureIndex structure_;
  std::string_view text_;
  // Where the text's first and last backslash are; first > last: it has none.
  uint32_t first_escape_ = 1;
  uint32_t last_escape_ = 0;
  bool must_be_object_ = false;
  uint32_t next_value_ = 0;  // the structural behind the last value
  uint64_t structure_id_ = 0;
  ScopeMembers scopes_[kScopes];
};

}  // namespace weir::event
