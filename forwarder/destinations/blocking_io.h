// Waiting for a descriptor on a thread that may block, in a way that can be ended from outside.
// Path: warm (per batch).  Thread: wait_for() on the worker's own; Cancel::request() from any.
#pragma once

#include <cstdint>

#include "storage/base/clock.h"

namespace weir::forwarder {

// A request to stop that stays until it is cleared; its descriptor is readable while it stands.
class Cancel {
 public:
  Cancel();  // aborts when no descriptor is left: called only at start-up
  ~Cancel();
  Cancel(const Cancel&) = delete;
  Cancel& operator=(const Cancel&) = delete;
  void request();
  void clear();
  bool requested() const;
  int fd() const { return fd_; }

 private:
  int fd_;
};

enum class Waited : uint8_t { kReady, kTimeout, kCancelled };

// Until fd has one of the poll(2) events (or an error, or hung up), the monotonic time is reached,
// or somebody cancels.
Waited wait_for(int fd, short events, int64_t deadline_ns, const Cancel& cancel,
                const Clock& clock);

}  // namespace weir::forwarder
