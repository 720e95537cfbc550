// A listening socket with one multishot accept, and what becomes of the connections it yields.
// Path: warm (per connection).  Thread: the loop's.
//
// Invariants
//   1. Accepting is armed unless the listener is stopping or backs off: whatever result an event
//      brings, an absent F_MORE arms it again. (A full completion queue ends a multishot accept
//      with a valid descriptor.)
//   2. connections() <= max_connections.
//   3. Running out of descriptors never ends the listener: a reserved one is given up to accept and
//      close those who wait, so that they are refused instead of left hanging.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "collector/reactor/completion.h"
#include "collector/reactor/loop.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"

namespace weir::reactor {

class LoopImpl;

class SocketListener final : public Listener, private Timer {
 public:
  // Binds and listens; accepts from arm() on.
  static Result<std::unique_ptr<SocketListener>> create(LoopImpl& loop,
                                                        const ListenerOptions& options,
                                                        ConnectionFactory& factory,
                                                        MetricRegistry& metrics);
  ~SocketListener() override;

  void arm();
  void connection_closed();
  // The kernel holds nothing of it any more.
  bool stopped() const { return listen_fd_ < 0; }

  uint16_t port() const override { return port_; }
  unsigned connections() const override { return connections_; }
  void stop_accepting() override;

 private:
  // The label values are in listener.cc, in this order.
  enum class Refusal : uint8_t { kMaxConnections, kDescriptors, kGone, kHandler, kStopping };
  static constexpr size_t kRefusals = 5;
  enum class Rearm : uint8_t { kQueueFull, kDescriptors, kAborted, kInterrupted, kMemory, kError };
  static constexpr size_t kRearms = 6;

  SocketListener(LoopImpl& loop, const ListenerOptions& options, ConnectionFactory& factory,
                 MetricRegistry& metrics);

  void on_accepted(const CompletionEvent& event);
  void on_cancelled(const CompletionEvent& event);
  void on_timer() override;  // the back-off is over

  void admit(int fd);
  void accept_ended(int32_t result);
  void shed();
  void back_off(Rearm reason);
  void rearm(Rearm reason);
  void refuse(Refusal reason, unsigned count = 1);
  void finish_stop();

  LoopImpl& loop_;
  ConnectionFactory& factory_;
  std::string name_;
  unsigned max_connections_;
  int listen_fd_ = -1;
  int reserve_fd_ = -1;
  uint16_t port_ = 0;
  unsigned connections_ = 0;
  bool stopping_ = false;
  unsigned refused_unlogged_ = 0;
  int64_t next_refusal_log_ns_ = 0;
  Completion accept_;
  Completion cancel_;
  Gauge& open_gauge_;
  Counter& accepted_;
  std::array<Counter*, kRefusals> refused_{};
  std::array<Counter*, kRearms> rearmed_{};
};

}  // namespace weir::reactor
