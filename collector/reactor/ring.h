// One io_uring: preparing operations, the one system call of a turn, and reading completions.
// Path: hot.  Thread: created anywhere; used only by the thread that called enable().
//
// Invariants
//   1. Completions are copied out of the shared queue first (reap) and delivered afterwards
//      (deliver_reaped), so that no callback runs while the queue is being read.
//   2. An operation is never refused: a full submission queue is handed to the kernel at once.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "collector/reactor/completion.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"

namespace weir::reactor {

// Where the ring counts what should be rare. LIFETIME: outlive the ring.
struct RingCounters {
  Counter& completion_overflows;
  Counter& stale_completions;
  Counter& enter_retries;
};

class Ring {
 public:
  // What every ring of Weir is made of. SINGLE_ISSUER and DEFER_TASKRUN (kernel 6.1): completions
  // are produced only inside our own system call, so nothing interrupts a callback. SUBMIT_ALL: one
  // bad operation does not hold up those behind it.
  static constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                          IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;

  // Halves both queues while the memlock limit refuses them, down to kMinRingEntries. The ring is
  // disabled until enable().
  static Result<std::unique_ptr<Ring>> create(unsigned entries, unsigned completion_entries,
                                              const RingCounters& counters);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Binds the ring to the calling thread, the only one that may submit from now on.
  void enable();
  // The same thread, before it ends: gives back what enable() registered for it.
  void release_thread();

  // Each of these starts an operation; its events go to the completion. REQUIRES: completion not in
  // flight. LIFETIME: memory passed in stays alive until the terminal event.
  void accept_multishot(Completion& completion, int listen_fd);
  void receive_multishot(Completion& completion, int fd, uint16_t buffer_group);
  void send(Completion& completion, int fd, std::string_view bytes);
  void read(Completion& completion, int fd, void* into, unsigned size);
  void nop(Completion& completion);
  // Result: 0 cancelled, -ENOENT not found, -EALREADY already completing. The target still gets its
  // own terminal event, before or after.
  void cancel(Completion& completion, const Completion& target);
  // Everything in flight on the descriptor.
  void cancel_descriptor(Completion& completion, int fd);

  // The system call of a turn: submits what was started, then waits for a completion, at most
  // timeout_ns (0: does not sleep; negative: for ever). Interruptions and a kernel short of memory
  // are normal: it returns and the next turn tries again.
  void submit_and_wait(int64_t timeout_ns);

  // Copies every completion out of the queue, those that overflowed it included.
  void reap();
  // Delivers what was reaped, in order. Callbacks may start operations.
  void deliver_reaped();
  bool has_reaped() const { return next_reaped_ < reaped_.size(); }

  unsigned entries() const { return ring_.sq.ring_entries; }
  unsigned completion_entries() const { return ring_.cq.ring_entries; }
  io_uring* native() { return &ring_; }

 private:
  struct Reaped {
    uint64_t user_data;
    CompletionEvent event;
  };

  explicit Ring(const RingCounters& counters) : counters_(counters) {}
  io_uring_sqe* next_sqe();
  void make_room();
  void copy_completions();
  void check_enter(int result);

  io_uring ring_{};
  bool initialized_ = false;
  bool thread_registered_ = false;
  RingCounters counters_;
  std::vector<Reaped> reaped_;  // keeps its capacity
  size_t next_reaped_ = 0;      // the first not delivered yet
};

}  // namespace weir::reactor
