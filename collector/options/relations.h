// Checks between options, and of what their texts mean (addresses, URLs, hashes).
#pragma once

#include <vector>

#include "collector/options/options.h"

namespace weir::options {

// Adds a problem for each relation that does not hold. REQUIRES: every single value is valid.
void check_relations(const Options& options, std::vector<Problem>& problems);

}  // namespace weir::options
