// System calls on listening and accepted sockets that do not go through the ring.
// Path: cold (start-up, once per connection).  Thread: any.
#pragma once

#include <string>

#include "collector/reactor/loop.h"
#include "collector/reactor/stream.h"
#include "storage/base/result.h"

namespace weir::reactor {

// A bound, listening, blocking TCP socket (io_uring waits itself; a non-blocking one would make
// every operation end with EAGAIN). NODELAY is set on it and inherited by what it accepts. "::"
// takes IPv4 too. OWNS: the caller closes it.
Result<int> open_listening_socket(const ListenerOptions& options);
uint16_t local_port(int fd);
// False when the peer is gone already.
bool read_peer_address(int fd, PeerAddress* peer);
// A descriptor kept for the day when none is left; -1 when there is none.
int open_reserve_descriptor();

}  // namespace weir::reactor
