// What a running server may change (SIGHUP, POST /api/v1/reload), decided by the table of options:
// all or nothing.
// Thread: any; plain values.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "collector/options/options.h"

namespace weir {

struct ReloadPlan {
  // One option that differs. Entries of lists are told apart by their name, keys by what clients
  // send: numbers shift when one is taken out. Values as in the file, secrets never; empty: not
  // there.
  struct Change {
    std::string option;  // "log.level", "destinations.saas.url", "keys.shop.rate"
    std::string before;
    std::string after;
  };
  std::vector<Change> changes;
  std::vector<std::string> changed;    // "log.level", and of lists their section: "keys"
  std::vector<std::string> refused;    // what differs and only a restart can change
  std::set<std::string> destinations;  // those that are there before and after and differ
};
ReloadPlan plan_reload(const options::Options& running, const options::Options& wanted);

}  // namespace weir
