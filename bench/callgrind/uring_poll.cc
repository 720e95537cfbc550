// Makes io_uring usable under valgrind 3.19, for counting instructions with callgrind: valgrind
// runs one thread at a time and does not know that io_uring_enter blocks, so a reactor that waits
// inside it stops every other thread. This library, loaded by LD_PRELOAD, takes the place of
// liburing's waiting call: it submits without waiting, then sleeps a millisecond at a time in
// poll(2), beside which valgrind lets others run.
//
//   LD_PRELOAD=libweir_uring_poll.so valgrind --tool=callgrind weir serve …
#include <liburing.h>
#include <poll.h>

#include <cerrno>

extern "C" int io_uring_submit_and_wait_timeout(io_uring* ring, io_uring_cqe** cqe,
                                                unsigned /*wait_for*/, __kernel_timespec* timeout,
                                                sigset_t* /*mask*/) {
  const int submitted = io_uring_submit_and_get_events(ring);
  if (submitted < 0) return submitted;
  long long left_ms =
      timeout == nullptr ? -1 : timeout->tv_sec * 1000 + (timeout->tv_nsec + 999'999) / 1'000'000;
  while (io_uring_cq_ready(ring) == 0 && left_ms != 0) {
    poll(nullptr, 0, 1);
    if (const int code = io_uring_get_events(ring); code < 0) return code;
    if (left_ms > 0) --left_ms;
  }
  return io_uring_peek_cqe(ring, cqe) == 0 ? submitted : -ETIME;
}
