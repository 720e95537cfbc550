// docs/metrics.md, from the table of metrics.
#pragma once

#include <string>

namespace weir {

std::string metric_docs();

}  // namespace weir
