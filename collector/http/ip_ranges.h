// IP addresses as text and as bytes, and the CIDR ranges of server.trusted_proxies.
// Path: warm (once per connection; per request only with a forwarding header).  Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace weir::http {

// IPv4 is kept as IPv4-mapped IPv6, so that both spellings of one address are equal.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  // A plain IPv4 or IPv6 literal, without port, zone or brackets.
  static bool parse(std::string_view text, IpAddress& address);
  bool is_v4() const;
  std::string text() const;
  bool operator==(const IpAddress&) const = default;
};

class IpRanges {
 public:
  // "10.0.0.0/8", "::1/128", "192.0.2.1". The error names the entry that is wrong.
  static Result<IpRanges> parse(const std::vector<std::string>& ranges);
  bool contains(const IpAddress& address) const;
  bool empty() const { return ranges_.empty(); }

 private:
  struct Range {
    IpAddress network;
    unsigned prefix_bits = 128;
  };
  std::vector<Range> ranges_;
};

}  // namespace weir::http
