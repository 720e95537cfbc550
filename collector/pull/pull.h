// The pull interface over HTTP: /pull/v1/… of the pull listener and of the admin listener
// (docs/pull.md). Requests become PullCalls, which the leases answer later; nothing here blocks.
// Thread: the admin loop's, except where a member says otherwise. Warm (per request).
//
// Invariants
//   1. Every exchange is answered once its call came back, whatever happened to its client.
//   2. What was leased for a client that is gone is released at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "collector/admin/access.h"
#include "collector/http/exchange.h"
#include "collector/pull/pull_answer.h"
#include "forwarder/leases.h"
#include "storage/base/metrics.h"

namespace weir::pull {

struct PullDeps {
  forwarder::Leases& leases;
  MetricRegistry& metrics;
  Wakeup& loop_wakeup;  // notified when answer_done() has something to do
  Node node;
  // Bytes of answers on their way to clients, and how many there may be before a lease is refused.
  std::function<uint64_t()> unsent_bytes;
  uint64_t max_unsent_bytes = 0;
  // Without tokens: consumers named in a request are made on first use.
  bool may_create = false;
};

class PullApi : public http::Handler {
 public:
  PullApi(PullDeps deps, const std::vector<admin::TokenOptions>& tokens);
  ~PullApi() override;

  http::HeadVerdict on_head(const http::Request& request) override;
  void on_request(http::Exchange& exchange) override;
  void on_client_gone(http::Exchange& exchange) override;
  bool allows_origin(const http::Request& request, std::string_view origin) override;

  // The loop's wake-up callback.
  void answer_done();
  // Any thread.
  void apply(const std::vector<admin::TokenOptions>& tokens);

 private:
  struct Pending {
    forwarder::PullCall call;
    http::Exchange* exchange = nullptr;  // null: released for a client that is gone
  };

  bool admit(const http::Request& request, forwarder::PullCall& call, admin::Reply* refusal);
  void submit(std::unique_ptr<Pending> pending);
  void release(const forwarder::PullCall& leased);
  void answer(http::Exchange& exchange, std::string_view operation, const admin::Reply& reply);

  PullDeps deps_;
  forwarder::PullInbox inbox_;
  std::map<forwarder::PullCall*, std::unique_ptr<Pending>> pending_;
  mutable std::mutex access_mutex_;
  std::shared_ptr<const admin::AccessTable> access_;
  std::map<std::pair<std::string, int>, Counter*> answered_;  // by operation and status
};

}  // namespace weir::pull
