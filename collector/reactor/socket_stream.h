// The Stream over a real socket: a state machine around three operations, receive (multishot, into
// the loop's buffers), send (one at a time) and cancel.
// Path: hot.  Thread: the loop's.
//
// Invariants
//   1. A slot returns to the slab only when none of the three operations is in flight and the
//      descriptor is closed: closing_ -> join_close() -> on_closed() -> release.
//   2. While paused, or while held_ is not empty, received bytes are appended to held_: order.
//   3. Receiving is armed unless paused with bytes held, starved, at end of stream, failed or
//      closing.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include "collector/reactor/completion.h"
#include "collector/reactor/intrusive_list.h"
#include "collector/reactor/loop.h"
#include "collector/reactor/stream.h"

namespace weir::reactor {

class LoopImpl;
class SocketListener;

class SocketStream final : public Stream, private Task {
 public:
  explicit SocketStream(LoopImpl& loop);

  // A slot of the slab becomes a connection. OWNS: the descriptor from here on.
  void open(int fd, const PeerAddress& peer, SocketListener& listener);
  // Tells the handler from now on and begins to receive; null refuses the connection.
  void start(StreamHandler* handler);
  bool is_open() const { return fd_ >= 0; }
  SocketListener& listener() const { return *listener_; }

  // A buffer may be free again: tries to receive once more.
  void receive_after_starving();
  struct StarvedLink : reactor::ListLink {
    explicit StarvedLink(SocketStream& owner) : stream(owner) {}
    SocketStream& stream;
  };
  // The ring is gone with operations unfinished; closes without waiting for them.
  void close_without_ring();

  void send(std::string_view bytes) override;
  bool sending() const override { return send_left_ != 0; }
  void pause_receiving() override { paused_ = true; }
  void resume_receiving() override;
  void shutdown_write() override;
  void close() override;
  void reset_on_close() override;
  const PeerAddress& peer() const override { return peer_; }

 private:
  friend class StreamSlab;

  void run() override;  // the deferred half of close() and resume_receiving()
  void on_received(const CompletionEvent& event);
  void on_send_done(const CompletionEvent& event);
  void on_cancelled(const CompletionEvent& event);

  void take_bytes(const CompletionEvent& event);
  void receive_ended(int32_t result);
  void receive();
  void send_rest();
  void deliver_held();
  void deliver_eof();
  void report_error(int os_errno);
  void join_close();
  void finish_close();

  LoopImpl& loop_;
  StreamHandler* handler_ = nullptr;
  int fd_ = -1;
  bool paused_ = false;
  bool eof_ = false;            // the peer sent FIN
  bool eof_delivered_ = false;  // … and the handler knows
  bool failed_ = false;         // on_error() was called
  bool closing_ = false;
  bool resetting_ = false;
  bool write_shut_ = false;
  const char* send_next_ = nullptr;
  size_t send_left_ = 0;
  Completion receive_;
  Completion send_;
  Completion cancel_;
  StarvedLink starved_;
  std::string held_;  // bytes that arrived while paused
  SocketListener* listener_ = nullptr;
  SocketStream* next_free_ = nullptr;
  PeerAddress peer_;
};

// Every stream of a loop. They stay where they are until the loop is destroyed: no allocation per
// connection once it is warm, and the address in a late completion is always readable.
class StreamSlab {
 public:
  explicit StreamSlab(LoopImpl& loop) : loop_(loop) {}

  SocketStream& take();
  void give_back(SocketStream& stream);
  size_t open() const { return open_; }

  template <class F>
  void for_each_open(F visit) {
    for (SocketStream& stream : streams_)
      if (stream.is_open()) visit(stream);
  }

 private:
  LoopImpl& loop_;
  std::deque<SocketStream> streams_;
  SocketStream* free_ = nullptr;  // the last one given back is warm in the cache
  size_t open_ = 0;
};

}  // namespace weir::reactor
