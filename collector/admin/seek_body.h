// Reads places in the log out of a request's body: {"from":"2h","to":"0-17"}.
// Thread: any; no state.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "forwarder/seek_target.h"

namespace weir::admin {

// A member of the body that names a place: as read_seek_target(), or as parse_moment().
struct PlaceMember {
  std::string_view name;
  forwarder::SeekTarget* place;
  bool* found;
};
// Other members are ignored. now_ms: what "2h" is counted from.
Status read_places(std::string_view body, int64_t now_ms,
                   std::initializer_list<PlaceMember> members);

}  // namespace weir::admin
