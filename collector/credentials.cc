#include "collector/credentials.h"

#include "collector/http/query.h"

namespace weir {
namespace {

constexpr uint64_t kKeyWords = event::field_words(event::Field::kWriteKey);

NamedKey look_up(std::string_view text, const event::KeyTable& table) {
  return {true, table.find(text)};
}

}  // namespace

NamedKey CredentialReader::from_head(const protocols::RequestHead& head,
                                     const protocols::Adapter& adapter,
                                     const event::KeyTable& table) {
  if (!head.authorization.empty()) {
    std::string_view bearer;
    if (http::parse_basic_auth(head.authorization, basic_)) return look_up(basic_.user, table);
    if (adapter.bearer_is_key() && http::parse_bearer_auth(head.authorization, bearer))
      return look_up(bearer, table);
  }
  if (!head.write_key.empty()) return look_up(head.write_key, table);
  if (head.query.empty()) return {};
  for (const std::string_view name : {"key", "writeKey"}) {
    const auto raw = http::raw_query_value(head.query, name);
    if (!raw || raw->empty()) continue;
    text_.clear();
    http::append_form_decoded(text_, *raw);
    return look_up(text_, table);
  }
  return {};
}

NamedKey CredentialReader::from_wrapper(const event::BodyReader& reader,
                                        const event::KeyTable& table) {
  const event::BodyReader::Member* const member = reader.member(kKeyWords);
  if (member == nullptr || member->value.size() <= 2 || member->value.front() != '"') return {};
  arena_.reset();
  return look_up(event::decode_string(member->value.substr(1, member->value.size() - 2), arena_),
                 table);
}

NamedKey CredentialReader::from_event(const event::EventParser& parser,
                                      const event::KeyTable& table) {
  const event::Token* token = parser.first(event::Scope::kTop, kKeyWords);
  if (token == nullptr || token->type != event::ValueType::kString) {
    if (!parser.has(event::Scope::kProperties, event::Word::kToken)) return {};
    token = &parser.token(event::Scope::kProperties, event::Word::kToken);
  }
  arena_.reset();
  const std::string_view text = parser.value_text(*token, arena_);
  return text.empty() ? NamedKey{} : look_up(text, table);
}

}  // namespace weir
