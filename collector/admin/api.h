// The admin listener: every path, who may use it, and what it answers. Quick answers are given in
// the turn; what may block goes through the worker.
// Thread: the admin loop's, except where a member says otherwise. Cold.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collector/admin/access.h"
#include "collector/admin/consumers.h"
#include "collector/admin/dashboard.h"
#include "collector/admin/destinations.h"
#include "collector/admin/failed.h"
#include "collector/admin/ledger.h"
#include "collector/admin/live_feed.h"
#include "collector/admin/process_stats.h"
#include "collector/admin/stats.h"
#include "collector/admin/tail_feed.h"
#include "collector/admin/worker.h"
#include "collector/http/exchange.h"
#include "collector/reactor/loop.h"

namespace weir::admin {

// Why /readyz is red although the store accepts: a watermark and its meaning.
struct NotReady {
  std::string reason;
  std::string detail;
};

struct ApiDeps {
  storage::Store& store;
  const std::atomic<forwarder::Forwarder*>& forwarder;  // null until it was started
  MetricRegistry& metrics;
  const Clock& clock;
  reactor::Loop& loop;  // its wake-up is notified when on_wakeup() has something to do
  NodeInfo info;
  EventEditor edit_event;
  EventStream::Limits stream_limits;
  int64_t session_lifetime_ms = 0;
  // The running configuration as JSON. THREAD: the worker.
  std::function<std::string()> config_json;
  // Reloads the configuration; JSON about what changed, or the reasons why nothing did.
  // THREAD: the worker.
  std::function<Result<std::string>()> reload;
  http::Handler* pull = nullptr;        // answers what is below /pull/; null: nobody does
  forwarder::Leases* leases = nullptr;  // the pull consumers; null: there are none
  std::function<std::optional<NotReady>()> not_ready = nullptr;  // any thread; null: never
  // Turns the reactors' taps on and off; null: there are none.
  TailFeed::Watch watch = nullptr;
};

class Api : public http::Handler {
 public:
  Api(const ApiDeps& deps, const std::vector<TokenOptions>& tokens, int64_t stats_cache_ttl_ms);
  ~Api() override;

  http::HeadVerdict on_head(const http::Request& request) override;
  void on_request(http::Exchange& exchange) override;
  void on_client_gone(http::Exchange& exchange) override;
  bool allows_origin(const http::Request& request, std::string_view origin) override;

  // The loop's wake-up callback.
  void on_wakeup();
  // Ends the answers that have no end of their own, for good. THREAD: the loop's, before it stops.
  void end_streams();
  // Ends the worker; what waited is answered 503 by the next on_wakeup(). Any thread.
  void stop() { worker_->stop(); }

  // Any thread.
  void set_ready(bool ready) { stats_.set_ready(ready); }
  void apply(const std::vector<TokenOptions>& tokens, int64_t stats_cache_ttl_ms);

  // What is served beside the dashboard's files and the pull interface, for docs/openapi.yaml.
  struct ServedPath {
    http::Method method;
    std::string_view path;  // with {id}, {name} or {text} where something of the client's stands
  };
  static std::vector<ServedPath> served_paths();

  // One row of the table of paths (api.cc).
  struct Call;
  struct Route;
  // What stood in a path where the route has a hole.
  struct Hole {
    uint64_t id = 0;
    std::string text;
  };

 private:
  Reply livez(const Call& call);
  Reply readyz(const Call& call);
  Reply metrics(const Call& call);
  Reply live_counters(const Call& call);
  Reply stats(const Call& call);
  Reply failed_list(const Call& call);
  Reply failed_export(const Call& call);
  Reply failed_requeue_all(const Call& call);
  Reply failed_discard_all(const Call& call);
  Reply failed_show(const Call& call);
  Reply failed_edit(const Call& call);
  Reply failed_requeue(const Call& call);
  Reply failed_discard(const Call& call);
  Reply consumer_list(const Call& call);
  Reply consumer_create(const Call& call);
  Reply consumer_show(const Call& call);
  Reply consumer_seek(const Call& call);
  Reply consumer_replay(const Call& call);
  Reply consumer_delete(const Call& call);
  Reply destination_replay(const Call& call);
  Reply failed_expired(const Call& call);
  Reply expired_requeue(const Call& call);
  Reply event(const Call& call);
  Reply top(const Call& call);
  Reply drain_state(const Call& call);
  Reply drain(const Call& call);
  Reply drain_resume(const Call& call);
  Reply config(const Call& call);
  Reply reload(const Call& call);
  Reply session(const http::Request& request);
  Reply sign_in(const http::Request& request);
  Reply sign_out(const http::Request& request);
  // Routes that stream: false when too many listen.
  bool live(http::Exchange& exchange, const Call& call);
  bool tail(http::Exchange& exchange, const Call& call);

  static const std::vector<Route>& routes();
  static const Route* find_route(http::Method method, std::string_view path, Hole* in,
                                 bool* path_known);
  // Whether this request may go on; what it stands for is in its token or in its session.
  Verdict check(const http::Request& request, Need need) const;
  void answer(http::Exchange& exchange, const Reply& reply);
  std::shared_ptr<const AccessTable> access() const;
  void wake_lanes();  // something is to be sent or handed out once more

  ApiDeps deps_;
  Stats stats_;
  FailedEvents failed_;
  Consumers consumers_;
  Destinations destinations_;
  Ledger ledger_;
  Dashboard dashboard_;
  ProcessMetrics process_metrics_;
  LiveFeed live_;
  TailFeed tail_;
  std::atomic<bool> restart_streams_{false};
  mutable std::mutex access_mutex_;
  std::shared_ptr<const AccessTable> access_;
  std::map<int, Counter*> answered_;  // by status
  std::unique_ptr<Worker> worker_;    // last: its thread uses everything above
};

}  // namespace weir::admin
