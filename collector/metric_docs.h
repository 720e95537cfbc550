// The table of metrics as text. Thread: any.
#pragma once

#include <string>

namespace weir {

std::string metric_docs();  // docs/metrics.md
std::string metric_list();  // one line each, for a terminal

}  // namespace weir
