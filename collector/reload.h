// What a running server may change (SIGHUP, POST /api/v1/reload), decided by the table of options:
// all or nothing.
// Thread: any; plain values.
#pragma once

#include <string>
#include <vector>

#include "collector/options/options.h"

namespace weir {

struct ReloadPlan {
  std::vector<std::string> changed;  // "log.level", "keys"
  std::vector<std::string> refused;  // what differs and only a restart can change
};
ReloadPlan plan_reload(const options::Options& running, const options::Options& wanted);

}  // namespace weir
