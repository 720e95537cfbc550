// Who may use the admin listener: bearer tokens and their roles, or, without any token, the machine
// itself (open mode).
// Thread: any readers; immutable once built, a reload swaps the whole table.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/http/exchange.h"

namespace weir::admin {

// One configured [[tokens]] entry. Only the token's SHA-256 is known.
struct TokenOptions {
  std::string name;
  std::string hash;  // 64 hex digits
  std::string role;
  std::vector<std::string> tenants;
  std::vector<std::string> locations;
  std::vector<std::string> consumers;
};

// kPage: the dashboard's files and its sign-in. Everybody where there are tokens, this machine
// where there are none.
enum class Need : uint8_t { kNothing, kPage, kMetrics, kPuller, kAdmin };

// Who asks, once that was checked. In open mode everything is allowed and the name is empty.
struct Caller {
  std::string name;
  std::vector<std::string> tenants;    // empty: all
  std::vector<std::string> consumers;  // of a puller; empty: all
};

// SHA-256 of a token, or of a session's id.
using TokenHash = std::array<unsigned char, 32>;
TokenHash hash_of(std::string_view secret);
// 64 hex digits nobody can guess; empty when the system has no random bytes.
std::string random_id();

struct Verdict {
  int status = 0;  // 0: go ahead; 401, 403
  std::string_view code;
  std::string_view message;
};

class AccessTable {
 public:
  explicit AccessTable(const std::vector<TokenOptions>& tokens);

  // Checks token and role; in open mode that the request comes from this machine and from no web
  // page: a loopback Host (DNS rebinding), no forwarding header, no foreign Origin.
  // caller: filled in when there is one and it may go ahead.
  // session: the token a signed-in browser stands for; counts where the request has no token.
  Verdict check(const http::Request& request, Need need, Caller* caller = nullptr,
                const TokenHash* session = nullptr) const;
  // The same for a token alone. REQUIRES: not open().
  Verdict check_token(const TokenHash& token, Need need, Caller* caller = nullptr) const;
  // The configured name of a token, if it has the role admin.
  std::optional<std::string> admin_name(const TokenHash& token) const;
  bool open() const { return entries_.empty(); }

 private:
  struct Entry {
    TokenHash hash{};
    bool admin = false;
    bool metrics = false;
    bool puller = false;
    Caller caller;
  };
  const Entry* find(const TokenHash& token) const;

  std::vector<Entry> entries_;
};

// "localhost", "127.x.x.x" or "[::1]", each with or without a port.
bool is_loopback_host(std::string_view host);

}  // namespace weir::admin
