// The ingest order, from a complete request to its answer:
//   route -> key -> split -> parse -> rules -> fingerprint -> encode -> append -> outcome -> answer
// One Pipeline per reactor; it is the http::Handler of the ingest listener.
// Path: hot (per request, per event).  Thread: the loop's, all of it.
//
// Invariants
//   1. A request is answered exactly once; with success only after AppendOutcome::kCommitted (or,
//      for ?ack=received where the key allows it, after it was lent to the store).
//   2. Of an array or wrapper nothing is appended before the whole body is grammatical.
//   3. Whatever was lent to the store stays in memory until it comes back, even if the client left
//      or was told "outcome unknown" after commit_deadline.
//   4. No turn spends more than slice_us on one request, except by one event (counted as overrun).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "collector/event/key_table.h"
#include "collector/event/limits.h"
#include "collector/http/exchange.h"
#include "collector/http/server.h"
#include "collector/pressure.h"
#include "collector/protocols/user_token.h"
#include "collector/reactor/loop.h"
#include "collector/tap.h"
#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/store.h"

namespace weir {

struct PipelineOptions {
  int64_t slice_us = 500;               // reactor.slice_us
  int64_t commit_deadline_ms = 10'000;  // store.commit_deadline; then 503 outcome_unknown
  int retry_after_seconds = 5;          // on 503
  event::Limits limits;
  uint64_t max_body_bytes = 0;  // of event requests, decoded; 0: the HTTP server's own limit
  // Memory per reactor that events hold beside their bodies until the outcome; then 503.
  uint64_t event_memory_bytes = uint64_t{128} << 20;
  // No key and no token is configured: only loopback Hosts without forwarding headers are served.
  bool open_mode = false;
};

// What of them a reload may change.
struct PipelineLimits {
  event::Limits events;
  uint64_t event_memory_bytes = 0;
  int retry_after_seconds = 0;
};

// What the pipeline works with. LIFETIME: everything outlives the pipeline.
struct PipelineDeps {
  reactor::Loop& loop;
  storage::Store& store;
  const Clock& clock;
  MetricRegistry& metrics;
  const http::BodyBudget* budget = nullptr;                   // null: only HTTP itself checks it
  const protocols::UserTokenVerifier* user_tokens = nullptr;  // null: bearers of D1 are ignored
  PressureGauge* pressure = nullptr;                          // null: nothing is ever shed
};

class Pipeline : public http::Handler {
 public:
  // Registers itself with the loop (turn hook, wake-up). Call before run() or on the loop's thread.
  static std::unique_ptr<Pipeline> create(const PipelineOptions& options, const PipelineDeps& deps,
                                          std::shared_ptr<const event::KeyTable> keys);

  // Hot reload. THREAD: the loop's. Requests in flight finish under the keys they began with.
  virtual void set_keys(std::shared_ptr<const event::KeyTable> keys) = 0;
  // The same: requests in flight finish under the limits they began with, but for the depth.
  virtual void set_limits(const PipelineLimits& limits) = 0;
  // Live events for watchers; null: nobody watches. THREAD: the loop's.
  virtual void set_tap(std::shared_ptr<const TapWatch> watch) = 0;
  // Gathers outcomes. The loop's on_wakeup calls it already; public for a composition root that
  // has to register another callback there. THREAD: the loop's.
  virtual void collect_outcomes() = 0;
  // Requests that are being parsed or that the store has: what a drain waits for.
  virtual unsigned in_flight() const = 0;
};

}  // namespace weir
