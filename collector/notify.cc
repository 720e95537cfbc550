#include "collector/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace weir {

Status notify_systemd(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string_view name = path;
  if ((name[0] != '/' && name[0] != '@') || name.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalidArgument, "NOTIFY_SOCKET {} is not a socket's path", name);
  std::memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "cannot make a socket for systemd");
  const ssize_t sent = sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), size);
  const int why = errno;
  close(fd);
  if (sent != static_cast<ssize_t>(state.size()))
    return fail_errno(why, "cannot tell systemd on {}", name);
  return {};
}

}  // namespace weir
