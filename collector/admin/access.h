// Who may use the admin listener: bearer tokens and their roles, or, without any token, the machine
// itself (open mode).
// Thread: any readers; immutable once built, a reload swaps the whole table.
#pragma once

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

enum class Need : uint8_t { kNothing, kMetrics, kPuller, kAdmin };

// Who asks, once that was checked. In open mode everything is allowed and the name is empty.
struct Caller {
  std::string name;
  std::vector<std::string> tenants;    // empty: all
  std::vector<std::string> consumers;  // of a puller; empty: all
};

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
  Verdict check(const http::Request& request, Need need, Caller* caller = nullptr) const;
  bool open() const { return entries_.empty(); }

 private:
  struct Entry {
    unsigned char hash[32];
    bool admin = false;
    bool metrics = false;
    bool puller = false;
    Caller caller;
  };
  std::vector<Entry> entries_;
};

// "localhost", "127.x.x.x" or "[::1]", each with or without a port.
bool is_loopback_host(std::string_view host);

}  // namespace weir::admin
