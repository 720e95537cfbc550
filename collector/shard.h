// One core's share of the ingest side: loop, HTTP server, pipeline, listener, and their thread.
// Shards share nothing but the store's mailboxes, the body budget and the metrics registry.
// Thread: its own, between start() and stop(); members that others may call say so.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "collector/http/server.h"
#include "collector/pipeline.h"
#include "collector/reactor/loop.h"

namespace weir {

struct ShardOptions {
  reactor::LoopOptions loop;
  reactor::ListenerOptions listener;
  http::ServerOptions server;
  PipelineOptions pipeline;
};

// LIFETIME: outlives the shard.
struct ShardDeps {
  storage::Store& store;
  const Clock& clock;
  MetricRegistry& metrics;
  http::BodyBudget& budget;
  PressureGauge& pressure;
};

// What the thread of a loop is told from outside, worked off on the loop's wake-up.
class LoopThread {
 public:
  LoopThread(reactor::Loop& loop, std::string name);
  ~LoopThread();
  void start();
  // Runs on the loop's thread, soon. Any thread.
  void post(std::function<void()> work);
  // Ends the loop (its connections close by their join protocol) and joins the thread.
  void stop();

 private:
  void run_posted();

  reactor::Loop& loop_;
  const std::string name_;
  std::mutex mutex_;  // guards posted_: start-up, reload, shutdown; never per request
  std::vector<std::function<void()>> posted_;
  std::thread thread_;
};

class Shard {
 public:
  // Everything is set up and the listener bound, nothing runs yet.
  static Result<std::unique_ptr<Shard>> create(const ShardOptions& options, const ShardDeps& deps,
                                               std::shared_ptr<const event::KeyTable> keys);
  ~Shard();

  uint16_t port() const { return listener_->port(); }
  void start() { thread_->start(); }

  // ---- any thread
  void set_keys(std::shared_ptr<const event::KeyTable> keys);
  void set_limits(const http::Limits& limits, const PipelineLimits& events);
  void set_tap(std::shared_ptr<const TapWatch> watch);
  void begin_drain();  // no new connections; those without a request close
  bool drained() const { return drained_.load(std::memory_order_acquire); }
  void stop();  // closes what is left, ends the thread

 private:
  // Looks every few milliseconds whether a drain is complete.
  class DrainWatch : public reactor::Timer {
   public:
    explicit DrainWatch(Shard& shard) : shard_(shard) {}
    void on_timer() override;

   private:
    Shard& shard_;
  };

  Shard() = default;

  std::unique_ptr<reactor::Loop> loop_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<http::Server> server_;
  reactor::Listener* listener_ = nullptr;
  std::unique_ptr<DrainWatch> drain_watch_;
  std::atomic<bool> drained_{false};
  std::unique_ptr<LoopThread> thread_;  // first to go
};

// A listener with SO_REUSEPORT would silently share its port with another process: says whether
// somebody else has it.
Status check_port_free(const std::string& ip, uint16_t port);

}  // namespace weir
