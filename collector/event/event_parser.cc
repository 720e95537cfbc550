#include "collector/event/event_parser.h"

#include <bit>
#include <cstring>

#include "storage/base/check.h"

namespace weir::event {
namespace {

constexpr uint64_t kPropertyWords = field_words(Field::kProperties);

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
  Walk(EventParser& parser, std::string_view text)
      : parser_(parser),
        text_(text.data()),
        size_(static_cast<uint32_t>(text.size())),
        offsets_(parser.structure_.offsets()),
        count_(parser.structure_.size()) {}

  bool run() {
    if (!value()) return false;
    while (depth_ > 0)
      if (!step()) return false;
    return i_ == count_;
  }

 private:
  static constexpr unsigned kScopedDepth = 4;  // context.campaign's members are at depth 3

  bool more() const { return i_ < count_; }
  char here() const { return text_[offsets_[i_]]; }

  // Consumes the next member or element of the open container, or its closing brace.
  bool step() {
    if (!more()) return false;
    const bool object = in_object();
    const char close = object ? '}' : ']';
    if (here() == close) {
      if (after_comma_) return false;
      return end_container(), true;
    }
    if (!first_ && !after_comma_) return false;
    after_comma_ = first_ = false;
    if (object && !name()) return false;
    const unsigned depth = depth_;
    if (!value()) return false;
    return depth_ > depth || comma();
  }

  // Behind a complete value: a comma promises another one; the closing brace is left for step().
  bool comma() {
    if (!more()) return false;
    const char c = here();
    if (c == ',') {
      after_comma_ = true;
      ++i_;
      return true;
    }
    return c == (in_object() ? '}' : ']');
  }

  bool name() {
    if (here() != '"' || i_ + 1 >= count_ || text_[offsets_[i_ + 1]] != ':') return false;
    if (scope_ != Scope::kOther) word_ = word_at(offsets_[i_] + 1, string_end(offsets_[i_ + 1]));
    i_ += 2;
    return more();
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
    while (is_space(text_[at])) --at;
    return at;
  }
  uint32_t next_offset() const { return i_ + 1 < count_ ? offsets_[i_ + 1] : size_; }

  bool value() {
    if (!more()) return false;
    switch (here()) {
      case '{':
        return begin_container(true);
      case '[':
        return begin_container(false);
      case '"':
        if (wanted()) keep({offsets_[i_] + 1, string_end(next_offset()), ValueType::kString});
        ++i_;
        return true;
      case 't':
        return literal("true", ValueType::kTrue);
      case 'f':
        return literal("false", ValueType::kFalse);
      case 'n':
        return literal("null", ValueType::kNull);
      default:
        return number();
    }
  }

  // A scalar ends at white space or at the next token; anything glued to it makes it invalid.
  bool ends_at(const char* end) const {
    const uint32_t at = static_cast<uint32_t>(end - text_);
    return at == next_offset() || is_space(*end);
  }

  bool number() {
    const char* const start = text_ + offsets_[i_];
    const char* const end = skip_number(start, text_ + next_offset());
    if (end == nullptr || !ends_at(end)) return false;
    if (wanted()) keep({offsets_[i_], static_cast<uint32_t>(end - text_), ValueType::kNumber});
    ++i_;
    return true;
  }

  bool literal(std::string_view word, ValueType type) {
    const uint32_t at = offsets_[i_];
    if (next_offset() - at < word.size() || std::memcmp(text_ + at, word.data(), word.size()) != 0)
      return false;
    const auto end = static_cast<uint32_t>(at + word.size());
    if (!ends_at(text_ + end)) return false;
    if (wanted()) keep({at, end, type});
    ++i_;
    return true;
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

  void end_container() {
    const bool object = in_object();
    const uint32_t end = offsets_[i_] + 1;
    ++i_;
    --depth_;
    first_ = after_comma_ = false;
    if (depth_ < kScopedDepth) {
      scope_ = outer_scope_[depth_];
      word_ = outer_word_[depth_];
      if (wanted())
        keep({outer_begin_[depth_], end, object ? ValueType::kObject : ValueType::kArray});
    }
    if (depth_ > 0 && !comma()) i_ = count_ + 1;  // step() and run() then fail
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
    if (token.type != ValueType::kObject) forget_replaced_scope();
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
  const char* text_;
  uint32_t size_;
  const uint32_t* offsets_;
  uint32_t count_;
  uint32_t i_ = 0;
  unsigned depth_ = 0;
  bool first_ = false;        // nothing in the open container yet
  bool after_comma_ = false;  // a comma promised another value
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

bool EventParser::parse_object(std::string_view text) { return walk(text, true); }
bool EventParser::check_value(std::string_view text) { return walk(text, false); }

bool EventParser::walk(std::string_view text, bool object) {
  text_ = text;
  must_be_object_ = object;
  for (ScopeMembers& scope : scopes_) scope.present = 0;
  if (!structure_.build(text)) return false;
  if (object && text[structure_.offsets()[0]] != '{') return false;
  find_escapes();
  if (has_escapes() && !escapes_are_valid(text.substr(first_escape_))) return false;
  return Walk(*this, text).run();
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

std::string_view EventParser::value_text(const Token& token, Arena& arena) const {
  const std::string_view literal = raw(token);
  if (token.type == ValueType::kNumber) return literal;
  if (token.type != ValueType::kString) return {};
  return may_be_escaped(token.begin, token.end) ? decode_string(literal, arena) : literal;
}

}  // namespace weir::event
