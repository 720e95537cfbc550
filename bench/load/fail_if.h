// --fail-if: conditions on a result that set the exit code, for use in CI.
#pragma once

#include <string>

#include "bench/load/result.h"
#include "storage/base/result.h"

namespace weir::bench {

// One condition as it is written: "p99>5ms", "events/s<100000", "wrong>0".
struct FailRule {
  std::string text;
  std::string figure;
  bool above = true;  // fails when the figure is above the limit, else below
  double limit = 0;   // times in nanoseconds
};

// Errors name what is wrong with the text, and the known figures.
Result<FailRule> parse_fail_rule(const std::string& text);

// The figure's value, or an error when the run could not measure it (that fails too).
Result<bool> violates(const RunResult& result, const FailRule& rule);

}  // namespace weir::bench
