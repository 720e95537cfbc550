#include "forwarder/destinations/blocking_io.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "storage/base/check.h"

namespace weir::forwarder {

Cancel::Cancel() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  WEIR_CHECK(fd_ >= 0, "no descriptor for a destination's thread");
}

Cancel::~Cancel() { close(fd_); }

void Cancel::request() {
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);  // full: it stands already
}

void Cancel::clear() {
  uint64_t count = 0;
  [[maybe_unused]] const auto got = read(fd_, &count, sizeof count);  // empty: nothing stood
}

bool Cancel::requested() const {
  pollfd one{fd_, POLLIN, 0};
  return poll(&one, 1, 0) == 1;
}

Waited wait_for(int fd, short events, int64_t deadline_ns, const Cancel& cancel,
                const Clock& clock) {
  for (;;) {
    pollfd both[2] = {{cancel.fd(), POLLIN, 0}, {fd, events, 0}};
    const int64_t left_ns = deadline_ns - clock.monotonic_ns();
    const int64_t left_ms = std::clamp<int64_t>((left_ns + 999'999) / 1'000'000, 0, 3'600'000);
    const int ready = poll(both, 2, static_cast<int>(left_ms));
    if (ready > 0 && both[0].revents != 0) return Waited::kCancelled;
    if (ready > 0) return Waited::kReady;
    if (clock.monotonic_ns() >= deadline_ns) return Waited::kTimeout;  // else EINTR, or early
  }
}

}  // namespace weir::forwarder
