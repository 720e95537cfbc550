// The loop as its listeners and streams see it. loop.h is what everybody else sees.
// Path: hot.  Thread: the loop's, except stop() and wakeup().notify().
//
// One turn, in this order:
//   1. submit what was started and wait (one system call)
//   2. read the clocks
//   3. reap the completions, then deliver them
//   4. timers that are due, then the tasks deferred before this turn
//   5. starved receives: their buffers are back
//   6. turn hooks: per-turn batching of those above us
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "collector/reactor/buffer_pool.h"
#include "collector/reactor/intrusive_list.h"
#include "collector/reactor/listener.h"
#include "collector/reactor/loop.h"
#include "collector/reactor/ring.h"
#include "collector/reactor/socket_stream.h"
#include "collector/reactor/timer_wheel.h"

namespace weir::reactor {

// Cells of this loop's thread.
struct LoopCounters {
  explicit LoopCounters(MetricRegistry& metrics);
  Counter& turns;
  Counter& starved;
  Counter& received_bytes;
  Counter& sent_bytes;
};

class LoopImpl final : public Loop {
 public:
  LoopImpl(const LoopOptions& options, MetricRegistry& metrics);
  ~LoopImpl() override;
  Status set_up();

  void run() override;
  void stop() override;
  Result<Listener*> listen(const ListenerOptions& options, ConnectionFactory& factory) override;
  void defer(Task& task) override;
  void arm(Timer& timer, int64_t delay_ns) override;
  void cancel(Timer& timer) override;
  void add_turn_hook(TurnHook& hook) override;
  Wakeup& wakeup() override { return wakeup_; }
  void on_wakeup(std::function<void()> callback) override;
  int64_t now_ns() const override { return now_ns_; }
  int64_t wall_ms() const override { return wall_ms_; }

  // For listeners and streams.
  Ring& ring() { return *ring_; }
  BufferPool& buffers() { return *buffers_; }
  StreamSlab& streams() { return streams_; }
  LoopCounters& counters() { return counters_; }
  void wait_for_buffer(SocketStream::StarvedLink& link) { starved_.push_back(link); }

 private:
  void prepare_thread() const;
  void turn();
  int64_t sleep_ns();
  void read_clocks();
  void run_tasks();
  void serve_starved();
  void watch_wakeup();
  void on_wakeup_read(const CompletionEvent& event);
  void on_wakeup_cancelled(const CompletionEvent&) {}
  void shut_down();
  bool everything_closed() const;
  bool on_own_thread() const;

  LoopOptions options_;
  MetricRegistry& metrics_;
  LoopCounters counters_;
  int64_t now_ns_ = 0;
  int64_t wall_ms_ = 0;

  // Destroyed from the bottom up: the ring goes before the memory the kernel may write to.
  std::unique_ptr<BufferPool> buffers_;
  uint64_t wakeup_count_ = 0;  // written by the kernel
  StreamSlab streams_;
  std::vector<std::unique_ptr<SocketListener>> listeners_;
  Wakeup wakeup_;
  Completion wakeup_read_;
  Completion wakeup_cancel_;
  std::unique_ptr<Ring> ring_;

  TimerWheel timers_;
  LinkList tasks_;    // for the next turn
  LinkList starved_;  // streams that found no free buffer
  std::vector<TurnHook*> hooks_;
  std::vector<std::function<void()>> wakeup_callbacks_;
  std::thread::id thread_;      // of run(); none before
  bool shutting_down_ = false;  // wake-ups are no longer watched
  int64_t give_up_ns_ = -1;     // stopping: when the join protocols have had their time
  alignas(64) std::atomic<bool> stop_requested_{false};
};

}  // namespace weir::reactor
