// A running Weir: puts the parts together in the order of start-up, takes them apart in the order
// of shutdown, and reloads.
//   start: store -> shards (bound, not running) -> leases, admin -> forwarder -> everything runs ->
//          ready
//   stop:  no new requests -> those in flight are committed and answered -> destinations are
//          flushed -> leases, admin, forwarder, store
// Thread: the main thread, except reload().
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collector/admin/api.h"
#include "collector/options/options.h"
#include "collector/pull/pull.h"
#include "collector/reload.h"
#include "collector/shard.h"
#include "forwarder/forwarder.h"
#include "forwarder/leases.h"
#include "storage/store.h"

namespace weir {

class Server {
 public:
  // io_uring_features: for the start-up line. Errors say what to do. Nothing runs after an error.
  static Result<std::unique_ptr<Server>> start(const options::Sources& sources,
                                               options::Options options,
                                               std::string_view io_uring_features);
  ~Server();

  // Reads the configuration again and applies all of it or nothing. The text is JSON: what
  // changed. THREAD: any.
  Result<std::string> reload();

  // Drains as in the header of this file, at most about twice drain_seconds.
  void stop();

 private:
  explicit Server(options::Sources sources, options::Options options);

  Status open_store();
  Status make_shards();
  Status make_admin();
  Status make_pull();
  struct SideListener {
    std::string name;
    std::string address;
    unsigned max_connections = 0;
  };
  Status listen_beside(const SideListener& side, http::Handler& handler,
                       std::unique_ptr<http::Server>* server, reactor::Listener** listener);
  Status start_forwarder();
  void announce(std::string_view io_uring_features);
  void apply(const options::Options& wanted, std::shared_ptr<const event::KeyTable> keys);
  std::string tell(const ReloadPlan& plan);
  void drain_requests();
  void stop_admin();
  void log_what_is_left();
  ShardOptions shard_options(unsigned index, uint16_t port) const;

  const options::Sources sources_;
  const options::Options options_;  // as they were at the start
  std::mutex current_mutex_;        // guards the next two: reload and /api/v1/config
  options::Options current_;        // after the last reload
  std::shared_ptr<const event::KeyTable> keys_;
  const int64_t started_ns_;
  const int64_t started_ms_;

  MetricRegistry metrics_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<http::BodyBudget> budget_;
  std::unique_ptr<PressureGauge> pressure_;
  std::vector<std::unique_ptr<Shard>> shards_;

  std::unique_ptr<http::BodyBudget> admin_budget_;
  std::unique_ptr<reactor::Loop> admin_loop_;
  std::unique_ptr<admin::Api> admin_api_;
  std::unique_ptr<http::Server> admin_server_;
  reactor::Listener* admin_listener_ = nullptr;
  // On the admin loop too.
  std::unique_ptr<forwarder::Leases> leases_;
  std::unique_ptr<pull::PullApi> pull_api_;
  std::unique_ptr<http::Server> pull_server_;  // null: only the admin listener serves /pull/
  reactor::Listener* pull_listener_ = nullptr;
  std::unique_ptr<LoopThread> admin_thread_;

  std::unique_ptr<forwarder::Forwarder> forwarder_;
  std::atomic<forwarder::Forwarder*> forwarder_pointer_{nullptr};
  bool stopped_ = false;
  bool serving_ = false;  // the loops run: only then is there something to drain
};

}  // namespace weir
