#include "collector/reactor/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace weir::reactor {
namespace {

struct AddressListDeleter {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

std::string describe(const ListenerOptions& options) {
  const bool wide = options.address.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(wide ? "[{}]:{}" : "{}:{}"), options.address, options.port);
}

const char* remedy(int os_errno) {
  switch (os_errno) {
    case EADDRINUSE:
      return " (another process listens there; stop it or choose another port)";
    case EADDRNOTAVAIL:
      return " (this machine has no such address)";
    case EACCES:
      return " (ports below 1024 need CAP_NET_BIND_SERVICE)";
    default:
      return "";
  }
}

bool set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

bool bind_and_listen(int fd, const addrinfo& address, const ListenerOptions& options) {
  if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return false;
  if (options.reuse_port && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
  if (address.ai_family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) return false;
  if (!set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return false;
  // Answers are small: nothing to probe bandwidth for. Reno costs the least of all (BBR, the
  // default of some hosts, runs its model and a pacing timer per answer); where it is not allowed
  // the host's own choice stays.
  static constexpr char kReno[] = "reno";
  (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kReno, sizeof kReno - 1);
  return bind(fd, address.ai_addr, address.ai_addrlen) == 0 && listen(fd, options.backlog) == 0;
}

}  // namespace

Result<int> open_listening_socket(const ListenerOptions& options) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(options.port);
  if (const int code = getaddrinfo(options.address.c_str(), port.c_str(), &hints, &found);
      code != 0)
    return fail(ErrorCode::kInvalidArgument,
                "cannot listen on {}: \"{}\" is not an IPv4 or IPv6 address ({})",
                describe(options), options.address, gai_strerror(code));
  const std::unique_ptr<addrinfo, AddressListDeleter> address(found);

  const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "cannot create a socket for {}", describe(options));
  if (!bind_and_listen(fd, *address, options)) {
    const int error = errno;
    close(fd);
    return fail_errno(error, "cannot listen on {}{}", describe(options), remedy(error));
  }
  return fd;
}

uint16_t local_port(int fd) {
  PeerAddress local;
  socklen_t size = sizeof local.storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&local.storage), &size);
  return local.port();
}

bool read_peer_address(int fd, PeerAddress* peer) {
  socklen_t size = sizeof peer->storage;
  return getpeername(fd, reinterpret_cast<sockaddr*>(&peer->storage), &size) == 0;
}

int open_reserve_descriptor() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace weir::reactor
