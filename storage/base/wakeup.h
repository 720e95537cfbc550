// How a thread is told that something waits for it. An eventfd, so that it can be waited for by
// io_uring, epoll (libcurl) and a plain read alike.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

class Wakeup {
 public:
  Wakeup();  // aborts when no descriptor is left: called only at start-up
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Any thread; never blocks. Several notifications before the owner looks count as one: the
  // eventfd is written only by the first.
  void notify();

  int fd() const { return fd_; }  // becomes readable after notify()

  // Owner: call before looking at what waits (mailboxes), so that a notification that arrives
  // meanwhile is not lost. Resets the descriptor.
  void reset();
  // Owner whose completion already consumed the eventfd's count (an io_uring read): only re-arms.
  void rearm() { pending_.exchange(false, std::memory_order_seq_cst); }

  // Owner: blocks until notified or until the timeout passes (negative: for ever); then resets.
  // Returns whether it was notified.
  bool wait(int64_t timeout_ns);

 private:
  int fd_;
  alignas(64) std::atomic<bool> pending_{false};
};

}  // namespace weir
