// Checks of the configuration that only the components can make; `weir check` and `weir serve`
// call it after the table's own. Thread: start-up and reload.
#pragma once

#include <vector>

#include "collector/options/options.h"

namespace weir {

void check_components(const options::Options& options, std::vector<options::Problem>& problems);

}  // namespace weir
