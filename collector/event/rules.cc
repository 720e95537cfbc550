#include "collector/event/rules.h"

#include <algorithm>

namespace weir::event {
namespace {

// Names become metric labels and answers: short and plain.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '$';
  });
}

// The rule of a field, made on first mention.
Result<FieldRule*> rule_for(std::vector<FieldRule>& rules, std::string_view name) {
  if (!is_plain_name(name))
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is not a field name: use up to 64 letters, digits, _ - . $", name);
  const Field known = find_field(name);
  if (known == Field::kProperties || known == Field::kWriteKey || known == Field::kTimestamp ||
      known == Field::kPriority)
    return fail(ErrorCode::kInvalidArgument, "the field \"{}\" cannot have a rule", name);
  const std::string field(known == Field::kNone ? name : field_name(known));
  for (FieldRule& rule : rules)
    if (rule.field == field) return &rule;
  FieldRule& rule = rules.emplace_back();
  rule.field = field;
  rule.known = known;
  rule.pattern = Pattern::default_pattern();
  rule.missing_reason = "missing_" + field;
  rule.invalid_reason = "invalid_" + field;
  rule.not_allowed_reason = "not_allowed_" + field;
  return &rule;
}

}  // namespace

Result<RuleSet> RuleSet::build(
    const std::vector<std::string>& require,
    const std::vector<std::pair<std::string, std::string>>& patterns,
    const std::vector<std::pair<std::string, std::vector<std::string>>>& allow) {
  RuleSet set;
  for (const std::string& name : require) {
    WEIR_ASSIGN_OR_RETURN(FieldRule * rule, rule_for(set.rules_, name));
    rule->required = true;
  }
  for (const auto& [name, text] : patterns) {
    WEIR_ASSIGN_OR_RETURN(FieldRule * rule, rule_for(set.rules_, name));
    Result<Pattern> pattern = Pattern::compile(text);
    if (!pattern)
      return fail(pattern.error().code, "pattern of \"{}\": {}", name, pattern.error().message);
    rule->pattern = std::move(*pattern);
  }
  for (const auto& [name, values] : allow) {
    WEIR_ASSIGN_OR_RETURN(FieldRule * rule, rule_for(set.rules_, name));
    if (values.empty())
      return fail(ErrorCode::kInvalidArgument, "the allow list of \"{}\" is empty", name);
    rule->allowed.insert(values.begin(), values.end());
  }
  return set;
}

std::string_view RuleSet::check(FunctionRef<FoundValue(const FieldRule&)> find) const {
  for (const FieldRule& rule : rules_) {
    const FoundValue value = find(rule);
    if (value.state == FoundValue::State::kAbsent) {
      if (rule.required) return rule.missing_reason;
      continue;
    }
    if (value.state == FoundValue::State::kOther || !rule.pattern.matches(value.text))
      return rule.invalid_reason;
    if (!rule.allowed.empty() && rule.allowed.find(value.text) == rule.allowed.end())
      return rule.not_allowed_reason;
  }
  return {};
}

}  // namespace weir::event
