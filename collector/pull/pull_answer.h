// Answers to pulling servers, from a PullCall that came back.
// Path: warm (per request).  Thread: any; no state.
#pragma once

#include <string>
#include <string_view>

#include "collector/admin/reply.h"
#include "forwarder/leases.h"

namespace weir::pull {

// Who answers: names that go into headers.
struct Node {
  std::string name;
  std::string store_id;
};

// Moves the body out of the call.
admin::Reply make_answer(forwarder::PullCall& call, const Node& node);

}  // namespace weir::pull
