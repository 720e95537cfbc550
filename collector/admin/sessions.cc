#include "collector/admin/sessions.h"

#include <fmt/format.h>

#include <algorithm>

namespace weir::admin {
namespace {

constexpr std::string_view kCookie = "weir_session";

std::string cookie_name(const http::Request& request) {
  const std::string_view host = request.header("host");
  const size_t colon = host.rfind(':');
  std::string_view port =
      colon == std::string_view::npos ? std::string_view() : host.substr(colon + 1);
  if (port.find_first_not_of("0123456789") != std::string_view::npos) port = {};
  return port.empty() ? std::string(kCookie) : fmt::format("{}_{}", kCookie, port);
}

}  // namespace

std::string Sessions::begin(const TokenHash& token, int64_t now_ms) {
  const std::string id = random_id();
  if (id.empty()) return id;
  std::erase_if(sessions_, [&](const auto& one) { return one.second.ends_ms <= now_ms; });
  if (sessions_.size() >= kMax)
    sessions_.erase(std::min_element(
        sessions_.begin(), sessions_.end(),
        [](const auto& a, const auto& b) { return a.second.ends_ms < b.second.ends_ms; }));
  sessions_[hash_of(id)] = {token, now_ms + lifetime_ms_};
  return id;
}

std::optional<TokenHash> Sessions::find(std::string_view id, int64_t now_ms) const {
  if (id.empty()) return std::nullopt;
  const auto found = sessions_.find(hash_of(id));
  if (found == sessions_.end() || found->second.ends_ms <= now_ms) return std::nullopt;
  return found->second.token;
}

void Sessions::end(std::string_view id) { sessions_.erase(hash_of(id)); }

std::string Sessions::set_cookie_line(const http::Request& request, std::string_view id) const {
  const bool encrypted = request.header("origin").starts_with("https://");
  return fmt::format("Set-Cookie: {}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}\r\n",
                     cookie_name(request), id, id.empty() ? 0 : lifetime_ms_ / 1000,
                     encrypted ? "; Secure" : "");
}

std::string_view Sessions::id_in(const http::Request& request) {
  std::string_view rest = request.header("cookie");
  const std::string name = cookie_name(request);
  while (!rest.empty()) {
    std::string_view one = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    one.remove_prefix(std::min(one.size(), one.find_first_not_of(' ')));
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return one.substr(name.size() + 1);
  }
  return {};
}

std::string_view authority_of(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"})
    if (origin.starts_with(scheme)) return origin.substr(scheme.size());
  return {};
}

bool is_same_origin(const http::Request& request) {
  if (request.has_header("sec-fetch-site"))
    return request.header("sec-fetch-site") == "same-origin";
  const std::string_view authority = authority_of(request.header("origin"));
  return !authority.empty() && authority == request.header("host");
}

}  // namespace weir::admin
