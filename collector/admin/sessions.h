// Who is signed in at the dashboard. A browser keeps a random id in a cookie, never the token: a
// script that got into a page could not read either. Thread: the admin loop's.
//
// Invariants
//   1. A session is as good as its token: taken out of the configuration, or given another role, it
//   counts at the
//      next request, because the access table is asked with the token's hash each time.
//   2. At most kMax sessions; past it the one that ends first is forgotten. None outlives its
//   lifetime.
//   3. Only hashes of ids are kept.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "collector/admin/access.h"
#include "collector/http/exchange.h"

namespace weir::admin {

class Sessions {
 public:
  static constexpr size_t kMax = 256;

  explicit Sessions(int64_t lifetime_ms) : lifetime_ms_(lifetime_ms) {}

  // The id for the cookie; empty when the system has no random bytes.
  std::string begin(const TokenHash& token, int64_t now_ms);
  std::optional<TokenHash> find(std::string_view id, int64_t now_ms) const;
  void end(std::string_view id);
  size_t size() const { return sessions_.size(); }

  // The whole Set-Cookie line for this request's answer; an empty id takes the cookie away.
  std::string set_cookie_line(const http::Request& request, std::string_view id) const;
  // The id this request's cookie holds, or empty. Its name ends in the port the client knows
  // (Host), because cookies are shared by the ports of a host, and many nodes are looked at through
  // tunnels.
  static std::string_view id_in(const http::Request& request);

 private:
  struct Session {
    TokenHash token{};
    int64_t ends_ms = 0;
  };

  const int64_t lifetime_ms_;
  std::map<TokenHash, Session> sessions_;  // by the hash of the id
};

// A page of the same origin made this request, as far as the browser says: what a cookie alone must
// not allow to change.
bool is_same_origin(const http::Request& request);
// "https://edge.example:9090" -> "edge.example:9090"; empty for anything else.
std::string_view authority_of(std::string_view origin);

}  // namespace weir::admin
