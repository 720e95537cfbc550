// The user token (JWT) that /api/analytics/event(s) may carry as a bearer: it names the user and
// nothing else. An absent or invalid one leaves the user unknown; the event still counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::protocols {

class UserTokenVerifier {
 public:
  virtual ~UserTokenVerifier() = default;
  // True when the token's signature and times are valid: *user_id is then its `sub`.
  // THREAD: any reactor's; must not block.
  virtual bool verify(std::string_view token, int64_t now_ms, std::string* user_id) const = 0;
};

}  // namespace weir::protocols
