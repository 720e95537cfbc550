#include "collector/http/ip_ranges.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weir::http {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits) {
  const unsigned whole = bits / 8;
  if (std::memcmp(a.bytes.data(), b.bytes.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - bits % 8));
  return ((a.bytes[whole] ^ b.bytes[whole]) & mask) == 0;
}

}  // namespace

bool IpAddress::parse(std::string_view text, IpAddress& address) {
  char literal[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof literal) return false;
  std::memcpy(literal, text.data(), text.size());
  literal[text.size()] = '\0';
  if (std::memchr(literal, '\0', text.size()) != nullptr) return false;
  IpAddress parsed;
  if (inet_pton(AF_INET, literal, parsed.bytes.data() + 12) == 1)
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), parsed.bytes.begin());
  else if (inet_pton(AF_INET6, literal, parsed.bytes.data()) != 1)
    return false;
  address = parsed;
  return true;
}

bool IpAddress::is_v4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
}

std::string IpAddress::text() const {
  char literal[INET6_ADDRSTRLEN];
  const bool v4 = is_v4();
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes.data() + (v4 ? 12 : 0), literal, sizeof literal);
  return literal;
}

Result<IpRanges> IpRanges::parse(const std::vector<std::string>& ranges) {
  IpRanges parsed;
  for (const std::string& text : ranges) {
    const size_t slash = text.find('/');
    Range range;
    if (!IpAddress::parse(std::string_view(text).substr(0, slash), range.network))
      return fail(ErrorCode::kInvalidArgument,
                  "server.trusted_proxies: '{}' is not an IP address or range; write 10.0.0.0/8 or "
                  "::1/128",
                  text);
    const unsigned max_bits = text.find(':') == std::string::npos ? 32 : 128;
    unsigned bits = max_bits;
    if (slash != std::string::npos) {
      const char* const end = text.data() + text.size();
      const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
      if (error != std::errc{} || stop != end || bits > max_bits)
        return fail(ErrorCode::kInvalidArgument,
                    "server.trusted_proxies: the prefix length of '{}' must be 0 to {}", text,
                    max_bits);
    }
    range.prefix_bits = bits + (128 - max_bits);
    parsed.ranges_.push_back(range);
  }
  return parsed;
}

bool IpRanges::contains(const IpAddress& address) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
    return same_prefix(address, range.network, range.prefix_bits);
  });
}

}  // namespace weir::http
