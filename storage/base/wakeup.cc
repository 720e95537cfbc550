#include "storage/base/wakeup.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "storage/base/check.h"

namespace weir {

Wakeup::Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  WEIR_CHECK(fd_ >= 0, "eventfd failed with errno {}", errno);
}

Wakeup::~Wakeup() { close(fd_); }

void Wakeup::notify() {
  if (pending_.exchange(true, std::memory_order_seq_cst)) return;
  const uint64_t one = 1;
  ssize_t written;
  do {
    written = write(fd_, &one, sizeof one);
  } while (written < 0 && errno == EINTR);
  WEIR_CHECK(written == sizeof one || errno == EAGAIN, "eventfd write failed with errno {}", errno);
}

void Wakeup::reset() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t ignored = read(fd_, &count, sizeof count);
  pending_.exchange(false, std::memory_order_seq_cst);
}

bool Wakeup::wait(int64_t timeout_ns) {
  pollfd poll_set{fd_, POLLIN, 0};
  timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  const int ready = ppoll(&poll_set, 1, timeout_ns < 0 ? nullptr : &timeout, nullptr);
  if (ready <= 0) return false;
  reset();
  return true;
}

}  // namespace weir
