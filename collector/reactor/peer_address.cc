// PeerAddress (stream.h): from the kernel's socket address, and as text.
#include <arpa/inet.h>

#include <cstddef>
#include <cstring>

#include "collector/reactor/stream.h"

namespace weir::reactor {
namespace {

// The IPv4 part of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), network byte order.
bool mapped_ipv4(const sockaddr_storage& storage, in_addr* address) {
  if (storage.ss_family == AF_INET) {
    *address = reinterpret_cast<const sockaddr_in&>(storage).sin_addr;
    return true;
  }
  if (storage.ss_family != AF_INET6) return false;
  const in6_addr& wide = reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr;
  if (!IN6_IS_ADDR_V4MAPPED(&wide)) return false;
  std::memcpy(address, wide.s6_addr + 12, sizeof *address);
  return true;
}

}  // namespace

std::string PeerAddress::ip_text() const {
  char text[INET6_ADDRSTRLEN] = "";
  in_addr narrow{};
  if (mapped_ipv4(storage, &narrow))
    inet_ntop(AF_INET, &narrow, text, sizeof text);
  else if (storage.ss_family == AF_INET6)
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, text,
              sizeof text);
  return text;
}

uint16_t PeerAddress::port() const {
  // The port is at the same place in both.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

bool PeerAddress::is_loopback() const {
  in_addr narrow{};
  if (mapped_ipv4(storage, &narrow)) return ntohl(narrow.s_addr) >> 24 == 127;
  return storage.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr);
}

}  // namespace weir::reactor
