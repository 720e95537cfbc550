// The event loop of one core: one io_uring, one thread. Submits once per turn; completions are
// reaped first, their callbacks run from a queue afterwards.
// Path: hot.  Thread: the one that calls run(); only stop() and wakeup().notify() are for others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collector/reactor/stream.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/base/wakeup.h"

namespace weir::reactor {

struct LoopOptions {
  unsigned ring_entries = 4096;  // submission queue; smaller ones are tried under a memlock limit
  unsigned completion_entries = 16'384;  // at least 4 x the submission queue
  unsigned receive_buffers = 1024;       // a power of two
  unsigned receive_buffer_bytes = 4096;
  int cpu = -1;                  // pin to this core; -1: do not
  std::string name = "reactor";  // thread name
};

// Work to be done in the next turn. OWNS: nothing; intrusive, belongs to who embeds it.
class Task {
 public:
  virtual ~Task() = default;
  virtual void run() = 0;

 private:
  friend class Loop;
  friend class LoopImpl;
  Task* next_ = nullptr;
  bool queued_ = false;
};

// A one-shot timer, embedded in its user. Coarse (about 10 ms late at most), cheap to move:
// arming and cancelling are O(1) and do no system call. Cancelled by its destructor.
class Timer {
 public:
  virtual ~Timer();
  virtual void on_timer() = 0;
  bool armed() const { return list_prev_ != nullptr; }

 private:
  friend class TimerWheel;
  Timer* list_next_ = nullptr;
  Timer** list_prev_ = nullptr;
  uint64_t deadline_tick_ = 0;
  class TimerWheel* wheel_ = nullptr;
};

// Called once per turn after the callbacks ran and before the loop submits and sleeps: the one
// place for per-turn batching (flush answers, hand append requests to the store).
class TurnHook {
 public:
  virtual ~TurnHook() = default;
  virtual void before_sleep() = 0;
};

// Decides what a freshly accepted connection becomes. Returns null to refuse it (it is closed).
class ConnectionFactory {
 public:
  virtual ~ConnectionFactory() = default;
  // OWNS: the returned handler belongs to itself until its on_closed(). LIFETIME: stream lives
  // until on_closed() returns.
  virtual StreamHandler* on_connection(Stream& stream) = 0;
};

struct ListenerOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6 literal
  uint16_t port = 0;                  // 0: any; Listener::port() tells
  bool reuse_port = false;            // SO_REUSEPORT: one listener per reactor
  int backlog = 4096;
  unsigned max_connections =
      20'000;                   // per listener; past it a connection is closed at accept, counted
  std::string name = "ingest";  // metric label
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual uint16_t port() const = 0;
  virtual unsigned connections() const = 0;
  virtual void stop_accepting() = 0;  // open connections go on
};

class Loop {
 public:
  // Sets up the ring and proves it with a no-op. Where io_uring is denied the error says which
  // limit it is (sysctl, seccomp, memlock, kernel) and how to allow it. Call from any thread; the
  // ring is enabled by the thread that calls run().
  static Result<std::unique_ptr<Loop>> create(const LoopOptions& options, MetricRegistry& metrics);
  virtual ~Loop() = default;

  // Runs until stop(). Returns after every connection was closed by its join protocol, at most
  // `close_timeout` later.
  virtual void run() = 0;
  virtual void stop() = 0;  // any thread

  virtual Result<Listener*> listen(const ListenerOptions& options, ConnectionFactory& factory) = 0;
  virtual void defer(Task& task) = 0;  // runs in the next turn; a task queued twice runs once
  virtual void arm(Timer& timer, int64_t delay_ns) = 0;  // re-arming moves it
  virtual void cancel(Timer& timer) = 0;
  virtual void add_turn_hook(TurnHook& hook) = 0;  // before run() or on the loop's thread

  virtual Wakeup& wakeup() = 0;                                // notify() from any thread …
  virtual void on_wakeup(std::function<void()> callback) = 0;  // … runs this on the loop's thread

  virtual int64_t now_ns() const = 0;   // monotonic, read once per turn
  virtual int64_t wall_ms() const = 0;  // read once per turn
};

// What `weir check --system` and the start-up line report about io_uring.
struct IoUringReport {
  bool usable = false;
  std::string detail;  // when not usable: what denies it and how to allow it
  std::string kernel;
  std::string features;
};
IoUringReport probe_io_uring();

}  // namespace weir::reactor
