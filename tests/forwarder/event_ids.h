// What a receiver reads out of a body, as far as tests need it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::forwarder::testing {

// The ids of the events in a plain JSON body, in order.
inline std::vector<std::string> event_ids(std::string_view body) {
  std::vector<std::string> ids;
  constexpr std::string_view kStart = "{\"id\":\"";
  for (size_t at = body.find(kStart); at != std::string_view::npos; at = body.find(kStart, at)) {
    at += kStart.size();
    ids.emplace_back(body.substr(at, body.find('"', at) - at));
  }
  return ids;
}

}  // namespace weir::forwarder::testing
