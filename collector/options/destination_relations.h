// What the settings of one [[destinations]] entry say together: what its type needs, what its type
// does not know. Thread: any; constant.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "forwarder/forwarder.h"

namespace weir::options {

struct DestinationChecks {
  // Whether the entry sets the option to something else than its default.
  std::function<bool(std::string_view option)> is_set;
  std::function<void(std::string_view option, std::string message, std::string hint)> report;
};
void check_destination(const forwarder::DestinationOptions& destination,
                       const DestinationChecks& checks);

}  // namespace weir::options
