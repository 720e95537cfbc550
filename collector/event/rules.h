// Data-quality rules of a write key: which fields an event must carry and what they may contain.
// Path: hot for keys with rules.  Thread: immutable, any reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "collector/event/pattern.h"
#include "collector/event/words.h"
#include "storage/base/function_ref.h"

namespace weir::event {

// What a look-up of a field found.
struct FoundValue {
  enum class State : uint8_t { kAbsent, kText, kOther };  // kOther: an object, array or boolean
  State state = State::kAbsent;
  std::string_view text;
};

struct FieldRule {
  std::string field;           // as reasons name it: snake_case for fields Weir knows
  Field known = Field::kNone;  // kNone: a field only this key knows
  bool required = false;
  Pattern pattern;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_set<std::string, Hash, std::equal_to<>> allowed;  // empty: any
  // "missing_campaign_id", "invalid_campaign_id", "not_allowed_campaign_id"
  std::string missing_reason;
  std::string invalid_reason;
  std::string not_allowed_reason;
};

class RuleSet {
 public:
  RuleSet() = default;
  // Fields may be given in snake_case or camelCase. Errors name the field.
  static Result<RuleSet> build(
      const std::vector<std::string>& require,
      const std::vector<std::pair<std::string, std::string>>& patterns,
      const std::vector<std::pair<std::string, std::vector<std::string>>>& allow);

  bool empty() const { return rules_.empty(); }
  // The first broken rule's reason, empty when the event may pass. find answers where the field is:
  // at the top, then in properties, then in context.campaign. A field that is not required is
  // checked only where it is present. LIFETIME of the result: the rule set's.
  std::string_view check(FunctionRef<FoundValue(const FieldRule&)> find) const;

 private:
  std::vector<FieldRule> rules_;
};

}  // namespace weir::event
