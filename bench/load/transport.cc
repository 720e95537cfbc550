#include "bench/load/transport.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::bench {

bool parse_url(const std::string& text, Url* url) {
  size_t at = 0;
  if (text.rfind("http://", 0) == 0) {
    at = 7;
    url->port = "80";
  } else if (text.rfind("https://", 0) == 0) {
    at = 8;
    url->tls = true;
    url->port = "443";
  } else {
    return false;
  }
  const size_t slash = text.find('/', at);
  std::string authority = text.substr(at, slash == std::string::npos ? slash : slash - at);
  url->has_path = slash != std::string::npos;
  if (url->has_path) url->path = text.substr(slash);
  size_t colon = authority.rfind(':');
  if (!authority.empty() && authority.front() == '[') {  // RFC 3986 section 3.2.2: IPv6 literal
    const size_t bracket = authority.find(']');
    if (bracket == std::string::npos) return false;
    url->host = authority.substr(1, bracket - 1);
    if (bracket + 1 < authority.size()) url->port = authority.substr(bracket + 2);
    return !url->host.empty();
  }
  url->host = authority.substr(0, colon);
  if (colon != std::string::npos) url->port = authority.substr(colon + 1);
  return !url->host.empty() && !url->port.empty();
}

Result<ResolvedAddress> resolve(const Url& url) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found);
  if (code != 0)
    return fail(ErrorCode::kNotFound, "cannot resolve {}:{}: {}", url.host, url.port,
                gai_strerror(code));
  ResolvedAddress address;
  address.size = found->ai_addrlen;
  address.family = found->ai_family;
  std::memcpy(address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

Result<int> make_client_socket(const ResolvedAddress& address) {
  const int fd = socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "cannot open a socket (ulimit -n is the usual limit)");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Result<std::unique_ptr<Transport>> make_transport(const LoadOptions& options, unsigned connections,
                                                  TransportHandler& handler) {
  if (options.url.tls && options.engine == "io_uring")
    return fail(ErrorCode::kInvalidArgument, "https needs --engine epoll");
  if (options.engine == "epoll" || options.url.tls)
    return make_epoll_transport(options, connections, handler);
  auto uring = make_uring_transport(options, connections, handler);
  if (uring || options.engine == "io_uring") return uring;
  return make_epoll_transport(options, connections, handler);
}

}  // namespace weir::bench
