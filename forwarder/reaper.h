// Ends destinations that are no longer used, each on a thread of its own: the end of one may wait
// for a client library that blocks (a name server that does not answer), and no lane may wait for
// that. Path: cold (a reload).  Thread: the forwarder's; the destructor's any.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "forwarder/destination.h"
#include "storage/base/wakeup.h"

namespace weir::forwarder {

class Reaper {
 public:
  // ended: notified when one has ended. LIFETIME: outlives the reaper.
  explicit Reaper(Wakeup& ended) : ended_(ended) {}
  ~Reaper();  // waits for all of them
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Everything lent to the destination was abandoned and its encoders are gone.
  void take(std::string name, std::unique_ptr<Destination> destination);
  // One of this name is still ending: its successor must not begin, it may write to the same place.
  bool holds(std::string_view name);

 private:
  struct Ending {
    std::string name;
    std::atomic<bool> done{false};
    std::thread thread;
  };
  void forget_done();

  Wakeup& ended_;
  std::list<Ending> endings_;  // as many as were removed and still block
};

}  // namespace weir::forwarder
