// A destination whose work blocks (a disk, a client library that resolves names while it waits), on
// threads of its own behind the interface the lane knows.
// Path: warm (per batch).  Thread: the Destination's functions on the forwarder's; each sink on
// the one worker thread it was given to.
//
// Invariants
//   1. The forwarder's thread never waits for a worker: it holds the lock only to move pointers, a
//      worker only for that and to copy one body.
//   2. A worker touches a Send only under the lock and only while it was not abandoned; it works on
//      a copy of the body, so that abandon() need not wait for it.
//   3. The queue is bounded by what the lane may have in flight: its `concurrency`.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "forwarder/destination.h"
#include "forwarder/destinations/blocking_io.h"
#include "storage/base/clock.h"
#include "storage/base/wakeup.h"

namespace weir::forwarder {

// What does the work. LIFETIME: made and destroyed with the destination; used on one thread.
class BlockingSink {
 public:
  virtual ~BlockingSink() = default;
  // Delivers the batch and says what came of it. Blocks as long as its timeouts allow; returns soon
  // when `cancel` is requested, whatever it says is ignored then.
  virtual Outcome deliver(std::string_view batch_id, std::string_view body, uint64_t events,
                          const Cancel& cancel) = 0;
};

class ThreadedDestination : public Destination {
 public:
  using EncoderFactory = std::function<std::unique_ptr<Encoder>()>;
  // One thread per sink. name: of the threads, at most 15 characters. LIFETIME: clock outlives it.
  ThreadedDestination(const std::string& name, std::vector<std::unique_ptr<BlockingSink>> sinks,
                      EncoderFactory make_encoder, const Clock& clock);
  // Waits for the threads: as long as the system's resolver takes when one is looking up a name.
  ~ThreadedDestination() override;

  std::unique_ptr<Encoder> make_encoder() override { return make_encoder_(); }
  void send(Send& send) override;
  Send* take_finished() override;
  void abandon() override;
  int poll_fd() const override { return finished_wakeup_.fd(); }
  int64_t deadline_ns() const override { return INT64_MAX; }

 private:
  struct Worker {
    std::unique_ptr<BlockingSink> sink;
    Cancel cancel;
    Send* current = nullptr;  // null: idle, or what it does was abandoned
    std::string batch_id;     // copies of what it works on
    std::string body;
    std::thread thread;
  };
  void run(Worker& worker);

  const EncoderFactory make_encoder_;
  const Clock& clock_;
  Wakeup finished_wakeup_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Send*> queue_;
  Send* finished_ = nullptr;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace weir::forwarder
