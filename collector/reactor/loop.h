// The event loop of one core: one io_uring, one thread. Submits once per turn; completions are
// reaped first, their callbacks run from a queue afterwards.
// Path: hot.  Thread: the one that calls run(); only stop() and wakeup().notify() are for others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "collector/reactor/intrusive_list.h"
#include "collector/reactor/limits.h"
#include "collector/reactor/stream.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/base/wakeup.h"

namespace weir::reactor {

struct LoopOptions {
  unsigned ring_entries = kDefaultRingEntries;  // submission queue; halved under a memlock limit
  unsigned completion_entries = kDefaultCompletionEntries;  // at least 4 x the submission queue
  unsigned receive_buffers = kDefaultReceiveBuffers;        // a power of two
  unsigned receive_buffer_bytes = kDefaultReceiveBufferBytes;
  int64_t close_timeout_ns = 5'000'000'000;  // stop(): how long the join protocols may take
  int cpu = -1;                              // pin to this core; -1: do not
  uint64_t slice_ns = 0;         // what the thread asks of the scheduler at a time; 0: its default
  std::string name = "reactor";  // thread name
};

// Work to be done in the next turn. OWNS: nothing; intrusive, belongs to who embeds it. One that is
// destroyed before its turn is forgotten.
class Task : private ListLink {
 public:
  virtual ~Task() = default;
  virtual void run() = 0;
  bool queued() const { return linked(); }

 private:
  friend class LoopImpl;
};

// A one-shot timer, embedded in its user. Coarse (about 10 ms late at most, never early), cheap to
// move: arming and cancelling are O(1) and do no system call. Cancelled by its destructor.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { unlink(); }
  virtual void on_timer() = 0;
  bool armed() const { return list_prev_ != nullptr; }

 private:
  friend class TimerWheel;
  void unlink() {
    if (list_prev_ == nullptr) return;
    *list_prev_ = list_next_;
    if (list_next_ != nullptr) list_next_->list_prev_ = list_prev_;
    list_next_ = nullptr;
    list_prev_ = nullptr;
  }

  Timer* list_next_ = nullptr;
  Timer** list_prev_ = nullptr;  // what points to this timer
  uint64_t deadline_tick_ = 0;
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
  // ring is enabled by the thread that calls run(). Destroying the loop may later interrupt one
  // system call of the creating thread (EINTR without a signal).
  static Result<std::unique_ptr<Loop>> create(const LoopOptions& options, MetricRegistry& metrics);
  virtual ~Loop() = default;

  // Runs until stop(). Returns after every connection was closed by its join protocol, at most
  // close_timeout_ns later. Handlers then get on_closed() without having called close().
  virtual void run() = 0;
  virtual void stop() = 0;  // any thread

  virtual Result<Listener*> listen(const ListenerOptions& options, ConnectionFactory& factory) = 0;
  virtual void defer(Task& task) = 0;  // runs in the next turn; a task queued twice runs once
  virtual void arm(Timer& timer, int64_t delay_ns) = 0;  // re-arming moves it
  virtual void cancel(Timer& timer) = 0;
  virtual void add_turn_hook(TurnHook& hook) = 0;  // before run() or on the loop's thread

  virtual Wakeup& wakeup() = 0;  // notify() from any thread …
  // … runs these on the loop's thread, in the order they were added; stop() does so too. Add before
  // run() or on its thread.
  virtual void on_wakeup(std::function<void()> callback) = 0;

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
