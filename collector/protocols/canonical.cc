#include "collector/protocols/canonical.h"

#include <charconv>
#include <cmath>
#include <iterator>

#include "collector/http/query.h"
#include "storage/base/clock.h"

namespace weir::protocols {
namespace {

using event::Field;
using event::FoundValue;
using event::Scope;
using event::Token;
using event::ValueType;

constexpr uint64_t kSearchedBeyondTop =
    event::field_words(Field::kSessionId) | event::field_words(Field::kUserId) |
    event::field_words(Field::kAnonymousId) | event::field_words(Field::kShopId) |
    event::field_words(Field::kLocationId) | event::field_words(Field::kUrl) |
    event::field_words(Field::kReferrer) | event::field_words(Field::kCampaignId) |
    event::field_words(Field::kTrackingId) | event::field_words(Field::kVariant);

// Where a canonical field lies in EventFields, by Field; null: not as text.
constexpr std::string_view EventFields::*kStored[] = {
    &EventFields::id,
    &EventFields::name,
    nullptr,  // timestamp
    &EventFields::session_id,
    &EventFields::user_id,
    &EventFields::anonymous_id,
    &EventFields::shop_id,
    &EventFields::location_id,
    &EventFields::url,
    &EventFields::referrer,
    &EventFields::campaign_id,
    &EventFields::tracking_id,
    &EventFields::variant,
    nullptr,  // priority
    nullptr,  // properties
    nullptr,  // write key
};
static_assert(std::size(kStored) == static_cast<size_t>(Field::kNone));

std::string_view EventFields::*stored_as(Field field) {
  return kStored[static_cast<size_t>(field)];
}

FoundValue found_value(const EventInput& input, const Token& token) {
  if (token.type == ValueType::kNull) return {};
  if (token.type != ValueType::kString && token.type != ValueType::kNumber)
    return {FoundValue::State::kOther, {}};
  const std::string_view text = input.parser->value_text(token, input.arena);
  if (text.empty()) return {};
  return {FoundValue::State::kText, text};
}

// A field under a name Weir does not know, in the three places rules look at.
FoundValue find_custom(const EventInput& input, std::string_view name) {
  for (const Scope scope : {Scope::kTop, Scope::kProperties, Scope::kCampaign}) {
    Token storage;
    const Token* const token = input.parser->find(scope, name, &storage);
    if (token == nullptr) continue;
    const FoundValue value = found_value(input, *token);
    if (value.state != FoundValue::State::kAbsent) return value;
  }
  return {};
}

// Whether a canonical field is there with a type that cannot be its value.
bool has_other_type(const EventInput& input, Field field) {
  const uint64_t words = event::field_words(field);
  for (const Scope scope : {Scope::kTop, Scope::kProperties, Scope::kCampaign}) {
    const Token* const token = input.parser->first(scope, words);
    if (token != nullptr && found_value(input, *token).state == FoundValue::State::kOther)
      return true;
  }
  return false;
}

std::string_view find_in_query(const EventInput& input, Field field) {
  for (const event::WordInfo& word : event::kWordTable) {
    if (word.field != field) continue;
    const std::string_view text = query_text(input, word.text);
    if (!text.empty()) return text;
  }
  return {};
}

}  // namespace

std::string_view query_text(const EventInput& input, std::string_view name) {
  const auto raw = http::raw_query_value(input.head.query, name);
  if (!raw) return {};
  if (raw->find_first_of("%+") == std::string_view::npos) return *raw;
  return input.arena.copy(http::form_decode(*raw));
}

std::string_view find_text_in(const EventInput& input, Scope scope, uint64_t words) {
  uint64_t left = input.parser->present(scope) & words;
  while (left != 0) {
    const auto word = static_cast<event::Word>(__builtin_ctzll(left));
    left &= left - 1;
    const std::string_view text =
        input.parser->value_text(input.parser->token(scope, word), input.arena);
    if (!text.empty()) return text;
  }
  return {};
}

namespace {

// What becomes a number.
struct FoundNumbers {
  std::string_view timestamp;
  std::string_view priority;
};

std::string_view& text_of(Field field, EventFields& fields, FoundNumbers& numbers) {
  const auto stored = stored_as(field);
  if (stored != nullptr) return fields.*stored;
  return field == Field::kTimestamp ? numbers.timestamp : numbers.priority;
}

// One pass over the members that are there costs less than a search per field. Words come in order
// of preference within a field, so the first non-empty one stays.
void collect(const EventInput& input, Scope scope, uint64_t words, EventFields& fields,
             FoundNumbers& numbers) {
  for (uint64_t left = input.parser->present(scope) & words; left != 0; left &= left - 1) {
    const auto word = static_cast<size_t>(__builtin_ctzll(left));
    std::string_view& text = text_of(event::kWordTable[word].field, fields, numbers);
    if (!text.empty()) continue;
    text = input.parser->value_text(input.parser->token(scope, static_cast<event::Word>(word)),
                                    input.arena);
  }
}

}  // namespace

void read_canonical(const EventInput& input, EventFields& fields) {
  constexpr uint64_t kTop =
      kSearchedBeyondTop | event::field_words(Field::kId) | event::field_words(Field::kName) |
      event::field_words(Field::kTimestamp) | event::field_words(Field::kPriority);
  FoundNumbers numbers;
  if (input.parser != nullptr) {
    collect(input, Scope::kTop, kTop, fields, numbers);
    collect(input, Scope::kProperties, kSearchedBeyondTop, fields, numbers);
    collect(input, Scope::kCampaign, kSearchedBeyondTop, fields, numbers);
  } else {
    for (size_t i = 0; i < std::size(kStored); ++i) {
      const auto field = static_cast<Field>(i);
      if ((event::field_words(field) & kTop) != 0)
        text_of(field, fields, numbers) = find_in_query(input, field);
    }
  }
  if (!numbers.timestamp.empty()) fields.timestamp_ms = parse_time(numbers.timestamp);
  if (!numbers.priority.empty())
    fields.priority = parse_priority(numbers.priority, fields.priority);
}

namespace {

// Digits only, at most 15: what nearly all clients that do not send RFC 3339 send.
bool is_plain_number(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > 15) return false;
  int64_t sum = 0;
  for (const char c : text) {
    const auto digit = static_cast<unsigned>(c - '0');
    if (digit > 9) return false;
    sum = sum * 10 + digit;
  }
  *value = sum;
  return true;
}

}  // namespace

int64_t parse_time(std::string_view text) {
  constexpr int64_t kLatest = 253'402'300'799'999;  // 9999-12-31T23:59:59.999Z
  int64_t ms = 0;
  if (is_plain_number(text, &ms)) return ms <= kLatest ? ms : 0;
  if (parse_rfc3339_ms(text, &ms)) return ms > 0 && ms <= kLatest ? ms : 0;
  // Anything else that can be a time is exact in a double.
  const char* const end = text.data() + text.size();
  double value = 0;
  const auto number = std::from_chars(text.data(), end, value);
  if (number.ec != std::errc() || number.ptr != end || !std::isfinite(value)) return 0;
  if (value < 1 || value > static_cast<double>(kLatest)) return 0;
  return static_cast<int64_t>(value);
}

uint8_t parse_priority(std::string_view text, uint8_t fallback) {
  if (text == "low") return 0;
  if (text == "normal") return 1;
  if (text == "high") return 2;
  return fallback;
}

FoundValue find_for_rule(const EventInput& input, const EventFields& fields,
                         const event::FieldRule& rule) {
  if (rule.known != Field::kNone) {
    const auto stored = stored_as(rule.known);
    const std::string_view text = stored == nullptr ? std::string_view{} : fields.*stored;
    if (!text.empty()) return {FoundValue::State::kText, text};
    if (input.parser != nullptr && has_other_type(input, rule.known))
      return {FoundValue::State::kOther, {}};
    return {};
  }
  if (input.parser != nullptr) return find_custom(input, rule.field);
  const std::string_view text = query_text(input, rule.field);
  if (text.empty()) return {};
  return {FoundValue::State::kText, text};
}

}  // namespace weir::protocols
