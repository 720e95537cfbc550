// The dashboard's files and its sign-in: everything of the page that is not an answer of the API.
// Thread: the admin loop's.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "collector/admin/reply.h"
#include "collector/admin/sessions.h"
#include "collector/admin/web_assets.h"
#include "collector/http/exchange.h"

namespace weir::admin {

class Dashboard {
 public:
  explicit Dashboard(int64_t session_lifetime_ms);

  bool serves(std::string_view path) const { return assets_.contains(path); }
  // 304 where the client has it already.
  Reply asset(const http::Request& request) const;

  // GET /api/v1/session: {"open":…,"signed_in":…,"name":…}
  Reply session(const AccessTable& access, const http::Request& request, int64_t now_ms) const;
  // POST with the token as a bearer: 200 with a cookie, 401, 403 (its role, or another origin).
  Reply sign_in(const AccessTable& access, const http::Request& request, int64_t now_ms);
  // DELETE: takes the cookie away, whoever asks.
  Reply sign_out(const http::Request& request);

  const Sessions& sessions() const { return sessions_; }

 private:
  std::map<std::string_view, WebAsset> assets_;
  Sessions sessions_;
};

}  // namespace weir::admin
