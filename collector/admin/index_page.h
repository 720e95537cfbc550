// GET / of the admin listener: the state of delivery at a glance, without script.
// Thread: the admin thread.
#pragma once

#include <string>

#include "collector/admin/stats.h"

namespace weir::admin {

std::string index_page(const Live& live, const NodeInfo& info);

}  // namespace weir::admin
