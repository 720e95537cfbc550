// Counts of events: exact ones, cached because they cost an index walk, and live ones that are
// cheap at any time.
// Thread: as said at each member.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "collector/admin/metric_digest.h"
#include "collector/admin/process_stats.h"
#include "forwarder/forwarder.h"
#include "forwarder/leases.h"
#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/store.h"

namespace weir::admin {

// What is known about the running process. Strings are set once at start-up.
struct NodeInfo {
  std::string node;
  std::string version;
  std::string kernel;
  std::string data_directory;
  int64_t started_ms = 0;
};

struct LiveLane {
  std::string name;
  storage::LaneKind kind = storage::LaneKind::kDestination;
  uint64_t pending = 0;
  storage::OutcomeCounts counts;
  int64_t oldest_pending_ms = 0;
  forwarder::LaneStatus status;   // destinations only
  forwarder::LeaseCounts leases;  // consumers only
};

// Totals over events, from counters: with one lane exact, with several an event that failed in two
// of them counts twice as failed. GET /api/v1/stats has the exact ones.
struct Live {
  uint64_t accepted = 0;  // ever
  uint64_t duplicates = 0;
  uint64_t pending = 0;
  uint64_t sent = 0;
  uint64_t failed = 0;
  MetricDigest metrics;
  ProcessStats process;
  std::vector<LiveLane> lanes;
  storage::ShardStatus store;  // sums over the shards; the smallest dedupe window
  bool ready = false;          // /readyz
  bool accepting = false;
  std::string refusal;             // in words, empty when accepting
  double accepted_per_second = 0;  // over the last seconds
  double sent_per_second = 0;
  int64_t wall_ms = 0;
};

// What the last column of `weir status` and `weir top` says: a destination's last error, a
// consumer's leases.
std::string lane_remark(const LiveLane& lane);

// Numbers of the lane that are not finished yet. Gaps count as pending until the lane passed them.
uint64_t lane_pending(const storage::Store& store, const storage::LaneState& lane);

class Stats {
 public:
  // LIFETIME: everything outlives this. forwarder may be null until it was started.
  Stats(storage::Store& store, const std::atomic<forwarder::Forwarder*>& forwarder,
        MetricRegistry& metrics, const Clock& clock, NodeInfo info);

  Live live() const;                                    // any thread
  std::string live_json();                              // any thread
  std::string live_text() const;                        // for `weir status`; any thread
  std::string top_screen(size_t columns, size_t rows);  // for `weir top`; any thread
  void set_ready(bool ready) { ready_.store(ready, std::memory_order_release); }  // any thread
  bool ready() const { return ready_.load(std::memory_order_acquire); }
  // Whether a watermark is reached: then nothing is ready either. Before live() is asked.
  void set_pressed(std::function<bool()> pressed) { pressed_ = std::move(pressed); }

  // The cached answer of /api/v1/stats, empty when there is none or it is too old. Any thread.
  std::string cached_json() const;
  // Counts anew and caches. May take long on a large store. THREAD: the worker.
  Result<std::string> fresh_json(bool forced);
  void set_cache_ttl_ms(int64_t ttl_ms);  // any thread
  int64_t cache_ttl_ms() const { return cache_ttl_ms_.load(std::memory_order_relaxed); }

  void sample();  // about once a second, for the rates. THREAD: the worker.

  const NodeInfo& info() const { return info_; }

 private:
  struct Sample {
    int64_t at_ns = 0;
    uint64_t accepted = 0;
    uint64_t sent = 0;
  };
  // What the latencies of live_json() are measured from.
  struct LatencySample {
    int64_t at_ns = 0;
    LatencyBuckets commit{};
    LatencyBuckets sync{};
  };

  // The reading the new one is compared with: about ten seconds old where somebody reads every
  // second, else the last one; empty for the first.
  LatencySample latency_base(const MetricDigest& now);

  storage::Store& store_;
  const std::atomic<forwarder::Forwarder*>& forwarder_;
  MetricRegistry& metrics_;
  const Clock& clock_;
  const NodeInfo info_;
  Counter& computed_expired_;
  Counter& computed_forced_;
  std::atomic<int64_t> cache_ttl_ms_{0};
  std::atomic<bool> ready_{false};
  std::function<bool()> pressed_;

  mutable std::mutex mutex_;  // guards the four below
  std::string cached_;
  int64_t cached_at_ns_ = 0;
  std::deque<Sample> samples_;
  std::deque<LatencySample> latencies_;
};

}  // namespace weir::admin
