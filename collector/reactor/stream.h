// A byte stream over one connected socket: what an HTTP connection consumes. It never shows recv
// completions, so that TLS can be slotted in between.
// Path: hot (per request).  Thread: the loop's.
//
// Invariants
//   1. At most one send is in flight; short sends are continued; bytes leave in the order of
//   send().
//   2. on_closed() is the last call a handler gets, and comes only when the kernel holds nothing of
//      this stream any more: shutdown, cancel, wait for the terminal completion of each operation,
//      only then close the descriptor.
//   3. After close() no on_data(), on_sent() or on_eof() arrives.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::reactor {

// An IPv4 or IPv6 address with port, as the accepted socket has it.
struct PeerAddress {
  sockaddr_storage storage{};
  std::string ip_text() const;  // without port; IPv4-mapped IPv6 as IPv4
  uint16_t port() const;
  bool is_loopback() const;
};

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // LIFETIME: bytes live in a provided buffer; valid only during the call.
  virtual void on_data(std::string_view bytes) = 0;
  virtual void on_eof() = 0;                // the peer will send no more (it may still read)
  virtual void on_sent() = 0;               // everything given to send() has left
  virtual void on_error(int os_errno) = 0;  // reset, broken pipe, …; call close()
  // Last call; the Stream is gone when it returns. Also without close(), when the loop stops.
  virtual void on_closed() = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Copies nothing. LIFETIME: bytes stay alive and unchanged until on_sent() or on_closed().
  // REQUIRES: no send pending (sending() is false), stream not closing.
  virtual void send(std::string_view bytes) = 0;
  virtual bool sending() const = 0;
  // Back-pressure: no on_data() or on_eof() until resume_receiving(); bytes stay in the socket.
  // Those already taken from it are kept and delivered, in order, in the turn after resuming. A
  // reset is still reported.
  virtual void pause_receiving() = 0;
  virtual void resume_receiving() = 0;
  virtual void shutdown_write() = 0;  // after what was sent: FIN
  virtual void close() = 0;           // idempotent; on_closed() follows in a later turn
  // Makes the close() to come send RST instead of FIN (a client that stalls, a flood).
  virtual void reset_on_close() = 0;
  virtual const PeerAddress& peer() const = 0;
};

}  // namespace weir::reactor
