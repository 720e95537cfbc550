#include "collector/event/json_value.h"

#include <charconv>

#include "collector/event/arena.h"
#include "collector/event/json_text.h"

namespace weir::event {
namespace {

constexpr unsigned kMaxRequestDepth = 16;
constexpr std::string_view kSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// Behind the string literal that begins at `at`. REQUIRES: text was checked.
size_t string_end(std::string_view text, size_t at) {
  for (++at; text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at + 1;
}

// Behind the value that begins at `at`.
size_t value_end(std::string_view text, size_t at) {
  if (text[at] == '"') return string_end(text, at);
  if (text[at] != '{' && text[at] != '[')
    return std::min(text.find_first_of(",]} \t\r\n", at), text.size());
  size_t depth = 0;
  do {
    const char c = text[at];
    if (c == '"') {
      at = string_end(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  } while (depth > 0);
  return at;
}

std::string decoded(std::string_view literal) {
  Arena arena;
  return std::string(decode_string(literal.substr(1, literal.size() - 2), arena));
}

}  // namespace

Result<JsonValue> JsonValue::check(std::string_view text) {
  const SyntaxError error = find_syntax_error(text, kMaxRequestDepth);
  if (error.found())
    return fail(ErrorCode::kInvalidArgument, "the body is not JSON: {} at byte {}", error.reason,
                error.offset);
  return JsonValue(trimmed(text));
}

void JsonValue::each_member(FunctionRef<bool(std::string_view, JsonValue)> visit) const {
  size_t at = text_.find_first_not_of(kSpace, 1);
  while (text_[at] != '}') {
    const size_t name_end = string_end(text_, at);
    const std::string name = decoded(text_.substr(at, name_end - at));
    at = text_.find_first_not_of(kSpace, text_.find(':', name_end) + 1);
    const size_t end = value_end(text_, at);
    if (!visit(name, JsonValue(text_.substr(at, end - at)))) return;
    at = text_.find_first_not_of(kSpace, end);
    if (text_[at] == ',') at = text_.find_first_not_of(kSpace, at + 1);
  }
}

void JsonValue::each_element(FunctionRef<bool(JsonValue)> visit) const {
  size_t at = text_.find_first_not_of(kSpace, 1);
  while (text_[at] != ']') {
    const size_t end = value_end(text_, at);
    if (!visit(JsonValue(text_.substr(at, end - at)))) return;
    at = text_.find_first_not_of(kSpace, end);
    if (text_[at] == ',') at = text_.find_first_not_of(kSpace, at + 1);
  }
}

std::optional<std::string> JsonValue::string() const {
  if (text_.front() != '"') return std::nullopt;
  return decoded(text_);
}

std::optional<int64_t> JsonValue::integer() const {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), number);
  if (error != std::errc() || end != text_.data() + text_.size()) return std::nullopt;
  return number;
}

std::optional<bool> JsonValue::boolean() const {
  if (text_ == "true") return true;
  if (text_ == "false") return false;
  return std::nullopt;
}

}  // namespace weir::event
