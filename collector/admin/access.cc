#include "collector/admin/access.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "collector/http/base64.h"
#include "storage/base/check.h"

namespace weir::admin {
namespace {

unsigned hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  return static_cast<unsigned>((c | 0x20) - 'a' + 10);
}

Verdict check_open(const http::Request& request) {
  if (request.forwarding_header_present)
    return {403, "forbidden",
            "without tokens the admin listener serves this machine only, and this request was "
            "forwarded; configure [[tokens]]"};
  const std::string_view host = request.header("host");
  if (!is_loopback_host(host))
    return {403, "forbidden",
            "without tokens the admin listener serves this machine only; use a loopback address, "
            "or configure [[tokens]]"};
  // A page in the operator's browser must not be able to act here.
  const std::string_view origin = request.header("origin");
  const bool own = origin.starts_with("http://") && origin.substr(7) == host;
  if (!origin.empty() && !own)
    return {403, "forbidden", "a web page of another origin may not use the admin listener"};
  return {};
}

}  // namespace

bool is_loopback_host(std::string_view host) {
  if (host.starts_with('[')) return host == "[::1]" || host.starts_with("[::1]:");
  host = host.substr(0, host.find(':'));
  if (http::header_is(host, "localhost")) return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
}

TokenHash hash_of(std::string_view secret) {
  TokenHash hash{};
  unsigned int size = 0;
  const int done =
      EVP_Digest(secret.data(), secret.size(), hash.data(), &size, EVP_sha256(), nullptr);
  WEIR_CHECK(done == 1 && size == hash.size(), "OpenSSL cannot compute SHA-256");
  return hash;
}

std::string random_id() {
  TokenHash bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return {};
  std::string id;
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

AccessTable::AccessTable(const std::vector<TokenOptions>& tokens) {
  for (const TokenOptions& token : tokens) {
    Entry entry;
    // The options' own check saw to 64 hex digits.
    for (size_t i = 0; i < entry.hash.size() && 2 * i + 1 < token.hash.size(); ++i)
      entry.hash[i] = static_cast<unsigned char>(hex_digit(token.hash[2 * i]) << 4 |
                                                 hex_digit(token.hash[2 * i + 1]));
    entry.admin = token.role == "admin";
    entry.metrics = entry.admin || token.role == "metrics";
    entry.puller = entry.admin || token.role == "puller";
    entry.caller = {token.name, token.tenants, {}};
    if (!entry.admin) entry.caller.consumers = token.consumers;
    entries_.push_back(std::move(entry));
  }
}

Verdict AccessTable::check(const http::Request& request, Need need, Caller* caller,
                           const TokenHash* session) const {
  if (need == Need::kNothing) return {};
  if (open()) return check_open(request);
  if (need == Need::kPage) return {};
  std::string_view token;
  if (http::parse_bearer_auth(request.header("authorization"), token))
    return check_token(hash_of(token), need, caller);
  if (session != nullptr) return check_token(*session, need, caller);
  return {401, "unauthorized", "send Authorization: Bearer <token>"};
}

Verdict AccessTable::check_token(const TokenHash& token, Need need, Caller* caller) const {
  const Entry* found = find(token);
  if (found == nullptr) return {401, "unauthorized", "this token is not known"};
  const bool allowed = need == Need::kMetrics  ? found->metrics
                       : need == Need::kPuller ? found->puller
                                               : found->admin;
  if (allowed && caller != nullptr) *caller = found->caller;
  if (allowed) return {};
  return {403, "forbidden", "the token's role does not allow this"};
}

std::optional<std::string> AccessTable::admin_name(const TokenHash& token) const {
  const Entry* found = find(token);
  if (found == nullptr || !found->admin) return std::nullopt;
  return found->caller.name;
}

// Every entry is compared, in constant time: the answer's timing tells nothing.
const AccessTable::Entry* AccessTable::find(const TokenHash& token) const {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_)
    if (CRYPTO_memcmp(entry.hash.data(), token.data(), token.size()) == 0) found = &entry;
  return found;
}

}  // namespace weir::admin
