#include "collector/reactor/ring.h"

#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "collector/reactor/denial.h"
#include "collector/reactor/limits.h"
#include "storage/base/check.h"
#include "storage/base/log.h"

namespace weir::reactor {

Result<std::unique_ptr<Ring>> Ring::create(unsigned entries, unsigned completion_entries,
                                           const RingCounters& counters) {
  std::unique_ptr<Ring> ring(new Ring(counters));
  for (;;) {
    io_uring_params params{};
    params.flags = kSetupFlags | IORING_SETUP_R_DISABLED;
    params.cq_entries = completion_entries;
    const int result = io_uring_queue_init_params(entries, &ring->ring_, &params);
    if (result == 0) break;
    // The same flags were probed before: what is left is the size.
    if (result != -ENOMEM || entries / 2 < kMinRingEntries)
      return tl::unexpected(explain_denial(-result, DeniedCall::kSetup));
    entries /= 2;
    completion_entries /= 2;
  }
  ring->initialized_ = true;
  // A turn seldom reaps more than the queue holds; what overflowed comes on top.
  ring->reaped_.reserve(ring->completion_entries());
  return ring;
}

Ring::~Ring() {
  if (initialized_) io_uring_queue_exit(&ring_);
}

void Ring::enable() {
  // Not io_uring_enable_rings(): liburing 2.3 declares but does not export it.
  const int result = io_uring_register(static_cast<unsigned>(ring_.ring_fd),
                                       IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  WEIR_CHECK(result == 0, "enabling the ring: {}", std::strerror(-result));
  // Saves looking up the descriptor in each enter. Only an optimisation: the table may be full.
  thread_registered_ = io_uring_register_ring_fd(&ring_) == 1;
}

void Ring::release_thread() {
  if (thread_registered_) io_uring_unregister_ring_fd(&ring_);
  thread_registered_ = false;
}

void Ring::accept_multishot(Completion& completion, int listen_fd) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_multishot_accept(sqe, listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
  sqe->user_data = completion.start();
}

void Ring::receive_multishot(Completion& completion, int fd, uint16_t buffer_group) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_recv_multishot(sqe, fd, nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = buffer_group;
  sqe->user_data = completion.start();
}

void Ring::send(Completion& completion, int fd, std::string_view bytes) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_send(sqe, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  sqe->user_data = completion.start();
}

void Ring::read(Completion& completion, int fd, void* into, unsigned size) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_read(sqe, fd, into, size, 0);
  sqe->user_data = completion.start();
}

void Ring::nop(Completion& completion) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_nop(sqe);
  sqe->user_data = completion.start();
}

void Ring::cancel(Completion& completion, const Completion& target) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_cancel64(sqe, target.user_data(), 0);
  sqe->user_data = completion.start();
}

void Ring::cancel_descriptor(Completion& completion, int fd) {
  io_uring_sqe* sqe = next_sqe();
  io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
  sqe->user_data = completion.start();
}

void Ring::submit_and_wait(int64_t timeout_ns) {
  int result;
  // Deferred task work runs only in a call that asks for events. When completions are there already
  // (a full submission queue was handed over in mid-turn) liburing's waiting call does not ask, and
  // an operation that ends by task work alone would never end.
  if (timeout_ns == 0 || io_uring_cq_ready(&ring_) > 0) {
    result = io_uring_submit_and_get_events(&ring_);
  } else {
    __kernel_timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
    io_uring_cqe* ignored = nullptr;
    result = io_uring_submit_and_wait_timeout(&ring_, &ignored, 1,
                                              timeout_ns < 0 ? nullptr : &timeout, nullptr);
  }
  check_enter(result);
}

// io_uring_enter(2), ERRORS, one by one.
void Ring::check_enter(int result) {
  if (result >= 0) return;
  switch (-result) {
    case ETIME:  // the timeout passed: what a turn without work ends with
      return;
    case EINTR:   // a signal; nothing is lost, the queue still holds what was not submitted
    case EAGAIN:  // the kernel could not allocate a request: completions must be taken first
    case EBUSY:   // completions that overflowed wait to be taken before more is submitted
      counters_.enter_retries.add();
      return;
    default:
      // EBADR: the kernel had no memory even for the overflow list and dropped completions; which
      // operations are still alive is unknown. EBADF, EFAULT, EINVAL, EEXIST, ENXIO, EOPNOTSUPP:
      // the ring was used in a way it was not set up for. Neither can be continued from.
      WEIR_CHECK(false, "io_uring_enter: {}", std::strerror(-result));
  }
}

io_uring_sqe* Ring::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    make_room();
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

// The submission queue is full in the middle of a turn: hand it over without waiting. Completions
// that are in the way are copied out and delivered later.
void Ring::make_room() {
  const int result = io_uring_submit(&ring_);
  if (result > 0) return;
  check_enter(result);
  copy_completions();
  sched_yield();
}

void Ring::reap() {
  copy_completions();
  if (!io_uring_cq_has_overflow(&ring_)) return;
  counters_.completion_overflows.add();
  // Each call refills the queue from the kernel's list; order is kept.
  do {
    check_enter(io_uring_get_events(&ring_));
    copy_completions();
  } while (io_uring_cq_has_overflow(&ring_));
}

void Ring::copy_completions() {
  unsigned head;
  unsigned count = 0;
  io_uring_cqe* cqe;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    reaped_.push_back({cqe->user_data, {cqe->res, cqe->flags}});
    ++count;
  }
  io_uring_cq_advance(&ring_, count);
}

void Ring::deliver_reaped() {
  // By index: a callback that fills the submission queue may append.
  while (next_reaped_ < reaped_.size()) {
    const Reaped reaped = reaped_[next_reaped_++];
    // The next owner's cache lines arrive while this one works.
    if (next_reaped_ < reaped_.size())
      __builtin_prefetch(Completion::address_of(reaped_[next_reaped_].user_data));
    if (!Completion::deliver(reaped.user_data, reaped.event)) {
      counters_.stale_completions.add();
      log::error("stale_completion", {{"result", reaped.event.result}});
    }
  }
  reaped_.clear();
  next_reaped_ = 0;
}

}  // namespace weir::reactor
