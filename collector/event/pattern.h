// What a field's value must look like. The patterns people write for identifiers ("[A-Z]{2}-\d+",
// "[A-Za-z0-9_.:-]{1,128}") compile to byte tables; anything else falls back to std::regex on
// values of bounded length.
// Path: hot for keys with rules.  Thread: immutable after compile(), any reader.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace weir::event {

class Pattern {
 public:
  // ECMAScript syntax; the whole value has to match, with or without ^ and $.
  static Result<Pattern> compile(std::string_view text);
  // [A-Za-z0-9_.:-]{1,128}
  static const Pattern& default_pattern();

  bool matches(std::string_view value) const;
  bool is_table() const { return regex_ == nullptr; }  // for tests: did the fast form apply?

 private:
  friend class PatternCompiler;
  using ByteSet = std::array<uint64_t, 4>;
  // min to max bytes out of the set, as many as there are. Greedy is exact because compile()
  // accepts a sequence only if no byte can belong to both of two neighbours that can compete.
  struct Run {
    ByteSet set{};
    uint32_t min = 1;
    uint32_t max = 1;
  };

  std::vector<Run> runs_;
  std::shared_ptr<const std::regex> regex_;
};

}  // namespace weir::event
