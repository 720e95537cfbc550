#include "collector/event/pattern.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "collector/event/limits.h"
#include "storage/base/check.h"

namespace weir::event {
namespace {

using ByteSet = std::array<uint64_t, 4>;
constexpr uint32_t kUnbounded = UINT32_MAX;

void insert(ByteSet& set, unsigned char byte) { set[byte / 64] |= uint64_t{1} << byte % 64; }
bool contains(const ByteSet& set, unsigned char byte) { return set[byte / 64] >> byte % 64 & 1; }

void insert_range(ByteSet& set, unsigned first, unsigned last) {
  for (unsigned byte = first; byte <= last; ++byte) insert(set, static_cast<unsigned char>(byte));
}

bool disjoint(const ByteSet& a, const ByteSet& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] & b[i]) return false;
  return true;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

// Reads the subset: literals, escapes, classes and the quantifiers ? * + {n} {n,} {n,m}. Answers
// false for everything else; std::regex then decides whether the pattern is valid at all.
class PatternCompiler {
 public:
  explicit PatternCompiler(std::string_view text) : rest_(text) {}

  bool compile(std::vector<Pattern::Run>& runs) {
    if (!rest_.empty() && rest_.front() == '^') rest_.remove_prefix(1);
    while (!rest_.empty()) {
      if (rest_ == "$") break;
      Pattern::Run run;
      if (!element(run.set) || !quantifier(run)) return false;
      runs.push_back(run);
    }
    return greedy_is_exact(runs);
  }

 private:
  bool element(ByteSet& set) {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    switch (c) {
      case '[':
        return character_class(set);
      case '\\':
        return escape(set);
      case '.':
      case '(':
      case ')':
      case '|':
      case '{':
      case '}':
      case ']':
      case '^':
      case '$':
      case '?':
      case '*':
      case '+':
        return false;
      default:
        if (static_cast<unsigned char>(c) >= 0x80) return false;
        insert(set, static_cast<unsigned char>(c));
        return true;
    }
  }

  bool escape(ByteSet& set) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == 'd') {
      insert_range(set, '0', '9');
    } else if (c == 'w') {
      insert_range(set, '0', '9');
      insert_range(set, 'A', 'Z');
      insert_range(set, 'a', 'z');
      insert(set, '_');
    } else if (std::string_view("^$\\.*+?()[]{}|/-_:@#").find(c) != std::string_view::npos) {
      insert(set, static_cast<unsigned char>(c));
    } else {
      return false;
    }
    return true;
  }

  bool character_class(ByteSet& set) {
    if (!rest_.empty() && rest_.front() == '^') return false;
    bool any = false;
    while (!rest_.empty() && rest_.front() != ']') {
      const char first = rest_.front();
      if (first == '[' || static_cast<unsigned char>(first) >= 0x80) return false;
      rest_.remove_prefix(1);
      any = true;
      if (first == '\\') {
        if (!escape(set)) return false;
        continue;
      }
      if (rest_.size() >= 2 && rest_[0] == '-' && rest_[1] != ']') {
        const char last = rest_[1];
        if (last == '\\' || last < first) return false;
        insert_range(set, static_cast<unsigned char>(first), static_cast<unsigned char>(last));
        rest_.remove_prefix(2);
      } else {
        insert(set, static_cast<unsigned char>(first));
      }
    }
    if (rest_.empty() || !any) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool quantifier(Pattern::Run& run) {
    if (rest_.empty()) return true;
    const char c = rest_.front();
    if (c == '?' || c == '*' || c == '+') {
      run.min = c == '+' ? 1 : 0;
      run.max = c == '?' ? 1 : kUnbounded;
      rest_.remove_prefix(1);
    } else if (c == '{') {
      rest_.remove_prefix(1);
      if (!bounds(run)) return false;
    }
    // A lazy or doubled quantifier belongs to the full grammar.
    return rest_.empty() || std::string_view("?*+{").find(rest_.front()) == std::string_view::npos;
  }

  bool bounds(Pattern::Run& run) {
    std::optional<uint32_t> low = number();
    if (!low || rest_.empty()) return false;
    run.min = run.max = *low;
    if (rest_.front() == ',') {
      rest_.remove_prefix(1);
      const std::optional<uint32_t> high = number();
      run.max = high.value_or(kUnbounded);
      if (run.max < run.min) return false;
    }
    if (rest_.empty() || rest_.front() != '}') return false;
    rest_.remove_prefix(1);
    return true;
  }

  std::optional<uint32_t> number() {
    if (rest_.empty() || !is_digit(rest_.front())) return std::nullopt;
    uint32_t value = 0;
    while (!rest_.empty() && is_digit(rest_.front())) {
      value = value * 10 + static_cast<uint32_t>(rest_.front() - '0');
      if (value > 100'000) return std::nullopt;
      rest_.remove_prefix(1);
    }
    return value;
  }

  // A run that may take more or less must not compete with what can follow it.
  static bool greedy_is_exact(const std::vector<Pattern::Run>& runs) {
    for (size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].min == runs[i].max) continue;
      for (size_t next = i + 1; next < runs.size(); ++next) {
        if (!disjoint(runs[i].set, runs[next].set)) return false;
        if (runs[next].min > 0) break;
      }
    }
    return true;
  }

  std::string_view rest_;
};

Result<Pattern> Pattern::compile(std::string_view text) {
  Pattern pattern;
  if (PatternCompiler(text).compile(pattern.runs_)) return pattern;
  pattern.runs_.clear();
  try {
    pattern.regex_ = std::make_shared<const std::regex>(
        text.begin(), text.end(), std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::exception& error) {
    return fail(ErrorCode::kInvalidArgument, "\"{}\" is not a regular expression: {}", text,
                error.what());
  }
  return pattern;
}

const Pattern& Pattern::default_pattern() {
  static const Pattern pattern = [] {
    Result<Pattern> compiled = compile("[A-Za-z0-9_.:-]{1,128}");
    WEIR_CHECK(compiled.has_value() && compiled->is_table());
    return std::move(*compiled);
  }();
  return pattern;
}

bool Pattern::matches(std::string_view value) const {
  if (value.size() > kMaxCheckedValueBytes) return false;
  if (regex_ != nullptr) {
    try {
      return std::regex_match(value.begin(), value.end(), *regex_);
    } catch (const std::exception&) {  // error_complexity, error_stack: too hard to decide
      return false;
    }
  }
  size_t at = 0;
  for (const Run& run : runs_) {
    const size_t begin = at;
    const size_t end = at + std::min<size_t>(value.size() - at, run.max);
    while (at < end && contains(run.set, static_cast<unsigned char>(value[at]))) ++at;
    if (at - begin < run.min) return false;
  }
  return at == value.size();
}

}  // namespace weir::event
