#include "collector/admin/dashboard.h"

#include "collector/http/base64.h"
#include "collector/json_writer.h"

namespace weir::admin {
namespace {

// No inline script or style, nothing from elsewhere, in nobody's frame; text can become HTML
// nowhere (trusted types).
constexpr std::string_view kPageHeaders =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src "
    "'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Frame-Options: DENY\r\n";

}  // namespace

Dashboard::Dashboard(int64_t session_lifetime_ms) : sessions_(session_lifetime_ms) {
  for (const WebAsset& asset : web_assets()) assets_[asset.path] = asset;
}

Reply Dashboard::asset(const http::Request& request) const {
  const WebAsset& asset = assets_.at(request.path);
  Reply reply;
  reply.content_type = asset.content_type;
  reply.caching = "no-cache";  // asked for again each time: an update shows at once
  reply.headers.append("ETag: ").append(asset.etag).append("\r\n").append(kPageHeaders);
  if (request.header("if-none-match").find(asset.etag) != std::string_view::npos)
    reply.status = 304;
  else
    reply.body = asset.body;
  return reply;
}

Reply Dashboard::session(const AccessTable& access, const http::Request& request,
                         int64_t now_ms) const {
  const auto token = sessions_.find(Sessions::id_in(request), now_ms);
  const auto name = token ? access.admin_name(*token) : std::nullopt;
  JsonWriter json;
  json.begin_object().field("open", access.open()).field("signed_in", name.has_value());
  json.field("name", name.value_or("")).end_object();
  return json_reply(json.take());
}

Reply Dashboard::sign_in(const AccessTable& access, const http::Request& request, int64_t now_ms) {
  if (access.open())
    return error_reply(409, "open", "this server has no tokens; there is nothing to sign in to");
  if (!is_same_origin(request))
    return error_reply(403, "forbidden", "only the dashboard's own page can sign in");
  std::string_view token;
  if (!http::parse_bearer_auth(request.header("authorization"), token))
    return error_reply(400, "no_token", "send the token as Authorization: Bearer <token>");
  const TokenHash hash = hash_of(token);
  const Verdict verdict = access.check_token(hash, Need::kAdmin);
  if (verdict.status != 0) {
    Reply refused = error_reply(verdict.status, verdict.code, verdict.message);
    refused.headers.clear();  // no WWW-Authenticate: the browser must not ask by itself
    return refused;
  }
  const std::string id = sessions_.begin(hash, now_ms);
  if (id.empty())
    return error_reply(503, "unavailable", "the system has no random numbers; try again");
  Reply reply = json_reply(R"({"signed_in":true})");
  reply.headers = sessions_.set_cookie_line(request, id);
  return reply;
}

Reply Dashboard::sign_out(const http::Request& request) {
  sessions_.end(Sessions::id_in(request));
  Reply reply = json_reply(R"({"signed_in":false})");
  reply.headers = sessions_.set_cookie_line(request, {});
  return reply;
}

}  // namespace weir::admin
