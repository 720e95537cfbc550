#include "collector/event/event_parser.h"

#include <bit>
#include <cstring>
#include <utility>

#include "storage/base/check.h"

namespace weir::event {
namespace {

constexpr uint64_t kPropertyWords = field_words(Field::kProperties);
// Members whose object is a scope of its own.
constexpr uint64_t kScopeWords = word_bit(Word::kContext) | word_bit(Word::kProperties) |
                                 word_bit(Word::kCampaign) | word_bit(Word::kPage);

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// RFC 8259 section 6 between at and end; returns where the number ends, null when it is none.
const char* skip_number(const char* at, const char* end) {
  if (at < end && *at == '-') ++at;
  if (at == end || !is_digit(*at)) return nullptr;
  if (*at == '0') {
    ++at;
  } else {
    while (at < end && is_digit(*at)) ++at;
  }
  if (at < end && *at == '.') {
    ++at;
    if (at == end || !is_digit(*at)) return nullptr;
    while (at < end && is_digit(*at)) ++at;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at < end && (*at == '+' || *at == '-')) ++at;
    if (at == end || !is_digit(*at)) return nullptr;
    while (at < end && is_digit(*at)) ++at;
  }
  return at;
}

}  // namespace

// One pass over the structure of one text. The state is the place (i_), the open containers
// (in_object_, a bit per level) and, for the few upper levels whose members are wanted, the scope.
class Walk {
 public:
  // text: what the offsets count from; begins with the structural number `first`.
  Walk(EventParser& parser, std::string_view text, uint32_t first)
      : parser_(parser),
        text_(text.data()),
        offsets_(parser.structure_.offsets()),
        count_(parser.structure_.size()),
        i_(first) {}

  // Checks one value; place() is behind it then.
  bool run() {
    if (i_ >= count_) return false;
    const char c = text_[offsets_[i_]];
    if (c == '{' || c == '[') {
      if (!begin_container(c == '{')) return false;
    } else {
      Token ignored;
      return read_scalar(c, i_++, &ignored);
    }
    while (depth_ > 0)
      if (!(in_object() ? members() : elements())) return false;
    return true;
  }
  uint32_t place() const { return i_; }

 private:
  static constexpr unsigned kScopedDepth = 4;  // context.campaign's members are at depth 3

  // Reads members of the open object until it ends or a container begins in it.
  bool members() {
    uint32_t i = i_;
    if (i >= count_) return false;
    if (std::exchange(first_, false) && text_[offsets_[i]] == '}') return end_container(i);
    const bool scoped = scope_ != Scope::kOther;
    for (;;) {
      if (i + 3 >= count_) return false;  // name, colon, value and what ends it
      const uint32_t name = offsets_[i];
      if (text_[name] != '"' || text_[offsets_[i + 1]] != ':') return false;
      word_ = scoped ? word_at(name + 1, string_end(offsets_[i + 1])) : Word::kNone;
      i += 2;
      const char c = text_[offsets_[i]];
      Token token;
      if (c == '"') {
        if (word_ != Word::kNone) keep(string_at(i));
      } else if (c == '{' || c == '[') {
        i_ = i;
        return begin_container(c == '{');
      } else if (!read_scalar(c, i, &token)) {
        return false;
      } else if (word_ != Word::kNone) {
        keep(token);
      }
      const char behind = text_[offsets_[++i]];
      if (behind == '}') return end_container(i);
      if (behind != ',') return false;
      ++i;
    }
  }

  // The same for an array.
  bool elements() {
    uint32_t i = i_;
    if (i >= count_) return false;
    if (std::exchange(first_, false) && text_[offsets_[i]] == ']') return end_container(i);
    for (;;) {
      if (i + 1 >= count_) return false;
      const char c = text_[offsets_[i]];
      if (c == '{' || c == '[') {
        i_ = i;
        return begin_container(c == '{');
      }
      Token ignored;
      if (!read_scalar(c, i, &ignored)) return false;
      const char behind = text_[offsets_[++i]];
      if (behind == ']') return end_container(i);
      if (behind != ',') return false;
      ++i;
    }
  }

  Word word_at(uint32_t begin, uint32_t end) {
    const std::string_view literal(text_ + begin, end - begin);
    if (parser_.may_be_escaped(begin, end) && literal.size() <= 128 &&
        literal.find('\\') != std::string_view::npos)
      return find_escaped_word(literal);
    return find_word(literal);
  }

  // "\u006eame" is the member "name" as well.
  static Word find_escaped_word(std::string_view literal) {
    if (!escapes_are_valid(literal)) return Word::kNone;
    Arena arena;
    return find_word(decode_string(literal, arena));
  }

  // The closing quote of the string in front of the token at next: only white space is between.
  uint32_t string_end(uint32_t next) const {
    uint32_t at = next - 1;
    while (static_cast<unsigned char>(text_[at]) <= ' ') --at;
    return at;
  }
  // offsets_[count_] is the text's size.
  uint32_t next_offset(uint32_t i) const { return offsets_[i + 1]; }

  // ---- scalars: c is the first byte of the one at structural i

  Token string_at(uint32_t i) const {
    return {offsets_[i] + 1, string_end(next_offset(i)), ValueType::kString};
  }

  bool read_scalar(char c, uint32_t i, Token* token) const {
    switch (c) {
      case '"':
        *token = string_at(i);
        return true;
      case 't':
        return read_literal("true", ValueType::kTrue, i, token);
      case 'f':
        return read_literal("false", ValueType::kFalse, i, token);
      case 'n':
        return read_literal("null", ValueType::kNull, i, token);
      default:
        return read_number(i, token);
    }
  }

  // A scalar ends at white space or at the next token; anything glued to it makes it invalid.
  bool ends_at(const char* end, uint32_t i) const {
    return static_cast<uint32_t>(end - text_) == next_offset(i) || is_space(*end);
  }

  bool read_number(uint32_t i, Token* token) const {
    const char* const end = skip_number(text_ + offsets_[i], text_ + next_offset(i));
    if (end == nullptr || !ends_at(end, i)) return false;
    *token = {offsets_[i], static_cast<uint32_t>(end - text_), ValueType::kNumber};
    return true;
  }

  bool read_literal(std::string_view word, ValueType type, uint32_t i, Token* token) const {
    const uint32_t at = offsets_[i];
    if (next_offset(i) - at < word.size() || std::memcmp(text_ + at, word.data(), word.size()) != 0)
      return false;
    const auto end = static_cast<uint32_t>(at + word.size());
    *token = {at, end, type};
    return ends_at(text_ + end, i);
  }

  // ---- containers

  bool in_object() const { return in_object_[depth_ / 64] >> depth_ % 64 & 1; }

  bool begin_container(bool object) {
    if (depth_ >= parser_.max_depth_) return false;
    if (depth_ < kScopedDepth) {
      outer_scope_[depth_] = scope_;
      outer_word_[depth_] = word_;
      outer_begin_[depth_] = offsets_[i_];
    }
    scope_ = object ? enter_scope() : Scope::kOther;
    word_ = Word::kNone;
    ++depth_;
    const uint64_t bit = uint64_t{1} << depth_ % 64;
    if (object)
      in_object_[depth_ / 64] |= bit;
    else
      in_object_[depth_ / 64] &= ~bit;
    first_ = true;
    ++i_;
    return true;
  }

  // i: the closing brace, of the right kind. Goes on to the next member or element of a container
  // around it, and ends those that end here too.
  bool end_container(uint32_t i) {
    for (;;) {
      const bool object = in_object();
      const uint32_t end = offsets_[i] + 1;
      ++i;
      --depth_;
      if (depth_ < kScopedDepth) {
        scope_ = outer_scope_[depth_];
        word_ = outer_word_[depth_];
        if (wanted())
          keep({outer_begin_[depth_], end, object ? ValueType::kObject : ValueType::kArray});
      }
      i_ = i;
      if (depth_ == 0) return true;
      if (i >= count_) return false;
      const char behind = text_[offsets_[i]];
      if (behind == ',') {
        i_ = i + 1;
        return true;
      }
      if (behind != (in_object() ? '}' : ']')) return false;
    }
  }

  // Which scope the object that begins here opens.
  Scope enter_scope() {
    Scope entered = Scope::kOther;
    if (depth_ == 0) {
      entered = Scope::kTop;
    } else if (scope_ == Scope::kTop) {
      if (word_ == Word::kContext) entered = Scope::kContext;
      if (word_ == Word::kProperties) entered = Scope::kProperties;
      if (word_ == Word::kData && !parser_.has(Scope::kTop, Word::kProperties))
        entered = Scope::kProperties;
    } else if (scope_ == Scope::kContext) {
      if (word_ == Word::kCampaign) entered = Scope::kCampaign;
      if (word_ == Word::kPage) entered = Scope::kPage;
    }
    if (entered == Scope::kOther) return entered;
    reset(entered);
    parser_.scopes_[EventParser::index(entered)].first_structural = i_;
    return entered;
  }

  void reset(Scope scope) {
    parser_.scopes_[EventParser::index(scope)].present = 0;
    if (scope == Scope::kContext) {
      reset(Scope::kCampaign);
      reset(Scope::kPage);
    }
  }

  // ---- members

  bool wanted() const { return word_ != Word::kNone && scope_ != Scope::kOther; }

  void keep(const Token& token) {
    EventParser::ScopeMembers& members = parser_.scopes_[EventParser::index(scope_)];
    members.present |= word_bit(word_);
    members.tokens[static_cast<size_t>(word_)] = token;
    if (token.type != ValueType::kObject && (word_bit(word_) & kScopeWords) != 0)
      forget_replaced_scope();
  }

  // A repeated member that is no object any more: what its predecessor held does not count.
  void forget_replaced_scope() {
    if (scope_ == Scope::kTop) {
      if (word_ == Word::kContext) reset(Scope::kContext);
      if (word_ == Word::kProperties) reset(Scope::kProperties);
    } else if (scope_ == Scope::kContext) {
      if (word_ == Word::kCampaign) reset(Scope::kCampaign);
      if (word_ == Word::kPage) reset(Scope::kPage);
    }
  }

  EventParser& parser_;
  const char* const text_;
  const uint32_t* const offsets_;
  const uint32_t count_;
  uint32_t i_;  // the structural to be read next
  unsigned depth_ = 0;
  bool first_ = false;  // nothing in the open container yet: it may end at once
  Scope scope_ = Scope::kOther;
  Word word_ = Word::kNone;
  uint64_t in_object_[kMaxDepth / 64 + 1] = {};
  Scope outer_scope_[kScopedDepth] = {};
  Word outer_word_[kScopedDepth] = {};
  uint32_t outer_begin_[kScopedDepth] = {};
};

EventParser::EventParser(unsigned max_depth) : max_depth_(max_depth) {
  WEIR_CHECK(max_depth >= 1 && max_depth <= kMaxDepth, "max_depth={}", max_depth);
}

bool EventParser::parse_object(std::string_view text) { return parse(text, true); }
bool EventParser::check_value(std::string_view text) { return parse(text, false); }

bool EventParser::parse(std::string_view text, bool object) {
  ++structure_id_;
  text_ = text;
  must_be_object_ = object;
  for (ScopeMembers& scope : scopes_) scope.present = 0;
  if (!structure_.build(text)) return false;
  if (object && text[structure_.offsets()[0]] != '{') return false;
  find_escapes();
  if (has_escapes() && !escapes_are_valid(text.substr(first_escape_))) return false;
  Walk walk(*this, text, 0);
  return walk.run() && walk.place() == structure_.size();
}

bool EventParser::begin_values(std::string_view text) {
  ++structure_id_;
  text_ = text;
  must_be_object_ = true;
  next_value_ = 0;
  if (!structure_.build(text)) return false;
  find_escapes();
  return true;
}

size_t EventParser::parse_value(size_t begin) {
  const uint32_t* const offsets = structure_.offsets();
  uint32_t first = next_value_;
  while (first < structure_.size() && offsets[first] < begin) ++first;
  if (first == structure_.size() || offsets[first] != begin || text_[begin] != '{') return 0;
  for (ScopeMembers& scope : scopes_) scope.present = 0;
  skip_escapes_before(begin);
  Walk walk(*this, text_, first);
  if (!walk.run()) return 0;
  next_value_ = walk.place();
  const size_t end = offsets[next_value_ - 1] + size_t{1};
  if (has_escapes() && first_escape_ < end &&
      !escapes_are_valid(text_.substr(first_escape_, end - first_escape_)))
    return 0;
  return end;
}

void EventParser::find_escapes() {
  const void* const first = std::memchr(text_.data(), '\\', text_.size());
  const char* const last =
      first == nullptr ? nullptr
                       : static_cast<const char*>(memrchr(text_.data(), '\\', text_.size()));
  first_escape_ =
      first == nullptr ? 1 : static_cast<uint32_t>(static_cast<const char*>(first) - text_.data());
  last_escape_ = last == nullptr ? 0 : static_cast<uint32_t>(last - text_.data());
}

// The first escape of what is left of the text.
void EventParser::skip_escapes_before(size_t begin) {
  if (!has_escapes() || first_escape_ >= begin) return;
  first_escape_ = last_escape_ + 1;  // none, unless
  if (begin > last_escape_) return;
  const void* const next = std::memchr(text_.data() + begin, '\\', text_.size() - begin);
  first_escape_ = static_cast<uint32_t>(static_cast<const char*>(next) - text_.data());
}

SyntaxError EventParser::error() const {
  const SyntaxError error = find_syntax_error(text_, max_depth_);
  if (error.found()) return error;
  const size_t first = text_.find_first_not_of(" \t\r\n");
  if (must_be_object_ && text_[first] != '{') return {first, "expected an object"};
  // The two checks disagree: the stricter one decides, and the fuzzer looks for this.
  return {0, "invalid JSON"};
}

const Token* EventParser::first(Scope scope, uint64_t words) const {
  const uint64_t found = present(scope) & words;
  if (found == 0) return nullptr;
  return &scopes_[index(scope)].tokens[std::countr_zero(found)];
}

const Token* EventParser::find(Scope scope, std::string_view name, Token* storage) const {
  const bool open =
      scope == Scope::kTop ||
      (scope == Scope::kProperties && first(Scope::kTop, kPropertyWords) != nullptr) ||
      (scope == Scope::kCampaign && has(Scope::kContext, Word::kCampaign));
  if (!open) return nullptr;
  const Token* const whole = scope == Scope::kTop ? nullptr
                             : scope == Scope::kProperties
                                 ? first(Scope::kTop, kPropertyWords)
                                 : &token(Scope::kContext, Word::kCampaign);
  if (whole != nullptr && whole->type != ValueType::kObject) return nullptr;
  const uint32_t* offsets = structure_.offsets();
  const Token* found = nullptr;
  int depth = 0;
  for (uint32_t i = scopes_[index(scope)].first_structural; i + 2 < structure_.size(); ++i) {
    const char c = text_[offsets[i]];
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) break;
    if (depth != 1 || text_[offsets[i + 1]] != ':' || c != '"') continue;
    const std::string_view literal = text_.substr(offsets[i] + 1, offsets[i + 1] - offsets[i] - 1);
    if (literal.size() <= name.size() || literal.substr(0, name.size()) != name ||
        literal[name.size()] != '"')
      continue;
    *storage = member_value(i + 2);
    found = storage;
  }
  return found;
}

Token EventParser::member_value(uint32_t structural) const {
  const uint32_t* offsets = structure_.offsets();
  const uint32_t begin = offsets[structural];
  const uint32_t next = structural + 1 < structure_.size() ? offsets[structural + 1]
                                                           : static_cast<uint32_t>(text_.size());
  uint32_t end = next;
  while (is_space(text_[end - 1])) --end;
  switch (text_[begin]) {
    case '"':
      return {begin + 1, end - 1, ValueType::kString};
    case '{':
      return {begin, end, ValueType::kObject};
    case '[':
      return {begin, end, ValueType::kArray};
    case 't':
      return {begin, end, ValueType::kTrue};
    case 'f':
      return {begin, end, ValueType::kFalse};
    case 'n':
      return {begin, end, ValueType::kNull};
    default:
      return {begin, end, ValueType::kNumber};
  }
}

}  // namespace weir::event
