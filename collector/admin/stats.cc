#include "collector/admin/stats.h"

#include <algorithm>

#include "collector/admin/human_text.h"
#include "collector/admin/top.h"
#include "collector/json_writer.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {
namespace {

constexpr size_t kSamples = 10;
constexpr int64_t kLatencyWindowNs = 10'000'000'000;
constexpr int64_t kLatencyStepNs = 900'000'000;  // readings closer together are not kept

void write_counts(JsonWriter& json, const storage::EventStates& states) {
  json.field("pending", states.pending).field("sent", states.sent).field("failed", states.failed);
}

void write_map(JsonWriter& json, std::string_view name,
               const std::map<std::string, uint64_t>& values) {
  json.key(name).begin_object();
  for (const auto& [key, value] : values) json.field(key, value);
  json.end_object();
}

int64_t oldest_seconds(const LiveLane& lane, int64_t now_ms) {
  return lane.oldest_pending_ms == 0 ? 0
                                     : std::max<int64_t>(0, now_ms - lane.oldest_pending_ms) / 1000;
}

// Of a consumer; lag and leases.
void write_leases(JsonWriter& json, const LiveLane& lane) {
  json.field("leases", lane.leases.leases).field("leased", lane.leases.leased);
  json.field("delayed", lane.leases.delayed).field("redelivered", lane.leases.redelivered);
}

void write_live_lane(JsonWriter& json, const LiveLane& lane, int64_t now_ms) {
  json.key(lane.name).begin_object();
  json.field("pending", lane.pending).field("sent", lane.counts.sent);
  json.field("failed", lane.counts.failed + lane.counts.expired);
  json.field("expired", lane.counts.expired).field("skipped", lane.counts.skipped);
  json.field("oldest_pending_seconds", oldest_seconds(lane, now_ms));
  if (lane.kind == storage::LaneKind::kConsumer) {
    write_leases(json, lane);
  } else {
    json.field("state", lane.status.state).field("in_flight", lane.status.in_flight);
    json.field("attempts", lane.status.attempts).field("last_error", lane.status.last_error);
    json.time_field("next_attempt_at", lane.status.next_attempt_ms);
  }
  json.end_object();
}

void write_quantiles(JsonWriter& json, std::string_view name, const Quantiles& quantiles) {
  json.key(name).begin_object().field("count", quantiles.count);
  for (const auto& [key, value] : {std::pair("p50_ms", quantiles.p50_ms),
                                   {"p95_ms", quantiles.p95_ms},
                                   {"p99_ms", quantiles.p99_ms}})
    if (quantiles.count == 0)
      json.key(key).null();
    else
      json.field(key, value);
  json.end_object();
}

void write_process(JsonWriter& json, const Live& live) {
  const ProcessStats& process = live.process;
  json.key("process").begin_object();
  json.field("cpu_seconds", static_cast<double>(process.cpu_ns) / 1e9);
  json.field("resident_bytes", process.resident_bytes);
  json.field("anonymous_bytes", process.anonymous_bytes);
  json.field("body_memory_used_bytes", live.metrics.body_memory_used);
  json.field("body_memory_limit_bytes", live.metrics.body_memory_limit);
  json.field("open_files", process.open_files).field("max_open_files", process.max_open_files);
  json.field("threads", process.threads).end_object();
}

storage::ShardStatus sum_shards(const storage::Store& store) {
  storage::ShardStatus sum;
  for (unsigned shard = 0; shard < store.shards(); ++shard) {
    const storage::ShardStatus status = store.shard_status(shard);
    sum.first += status.first;
    sum.end += status.end;
    sum.bytes += status.bytes;
    sum.segments += status.segments;
    sum.damaged_segments += status.damaged_segments;
    sum.dedupe_entries += status.dedupe_entries;
    sum.dedupe_window_ms = shard == 0 ? status.dedupe_window_ms
                                      : std::min(sum.dedupe_window_ms, status.dedupe_window_ms);
  }
  return sum;
}

}  // namespace

std::string lane_remark(const LiveLane& lane) {
  if (lane.kind == storage::LaneKind::kDestination) return terminal_text(lane.status.last_error);
  const forwarder::LeaseCounts& leases = lane.leases;
  if (leases.leased + leases.delayed == 0) return "";
  return fmt::format("{} in {} leases, {} given back, {} handed out again", leases.leased,
                     leases.leases, leases.delayed, leases.redelivered);
}

uint64_t lane_pending(const storage::Store& store, const storage::LaneState& lane) {
  uint64_t pending = 0;
  for (unsigned shard = 0; shard < lane.shards.size() && shard < store.shards(); ++shard) {
    const storage::LaneShard& state = lane.shards[shard];
    // A removed destination holds nothing: of what it had not sent, what is still there counts.
    const uint64_t first = state.ended == 0 ? 0 : store.shard_status(shard).first;
    const uint64_t end = state.ended == 0 ? store.committed_end(shard) : state.ended;
    const uint64_t frontier = std::max(state.frontier, first);
    if (end > frontier) pending += end - frontier;
    for (const auto& [number, range] : state.open)
      if (range.last >= first) pending += range.last - std::max(range.first, first) + 1;
  }
  return pending;
}

Stats::Stats(storage::Store& store, const std::atomic<forwarder::Forwarder*>& forwarder,
             MetricRegistry& metrics, const Clock& clock, NodeInfo info)
    : store_(store),
      forwarder_(forwarder),
      metrics_(metrics),
      clock_(clock),
      info_(std::move(info)),
      computed_expired_(metrics.counter(Metric::kStatsComputed, {"expired"})),
      computed_forced_(metrics.counter(Metric::kStatsComputed, {"forced"})) {}

void Stats::set_cache_ttl_ms(int64_t ttl_ms) {
  cache_ttl_ms_.store(ttl_ms, std::memory_order_relaxed);
}

Live Stats::live() const {
  Live live;
  live.wall_ms = clock_.wall_ms();
  // Lanes before the total: what is committed in between must not look sent.
  bool any_lane = false;
  for (const storage::LaneState& state : store_.lanes()) {
    // A removed destination is shown as long as it left something behind, and counts nowhere else.
    if (state.removed() && lane_pending(store_, state) == 0) continue;
    LiveLane& lane = live.lanes.emplace_back();
    lane.name = state.name;
    lane.kind = state.kind;
    lane.counts = state.counts;
    if (lane.kind == storage::LaneKind::kConsumer)
      lane.leases = forwarder::count_leases(state, live.wall_ms);
    lane.pending = lane_pending(store_, state);
    lane.oldest_pending_ms = store_.oldest_pending_ms(state.name);
    if (state.removed()) {
      lane.status.state = "removed";
      continue;
    }
    any_lane = true;
    live.pending = std::max(live.pending, lane.pending);
    live.failed += state.counts.failed + state.counts.expired;
  }
  if (forwarder::Forwarder* forwarder = forwarder_.load(std::memory_order_acquire))
    for (const forwarder::LaneStatus& status : forwarder->status())
      for (LiveLane& lane : live.lanes)
        if (lane.name == status.name && lane.status.state.empty()) lane.status = status;
  const storage::StoreTotals totals = store_.totals();
  live.accepted = totals.accepted;
  live.duplicates = totals.duplicates;
  if (!any_lane) live.pending = totals.accepted;
  // What failed anywhere has failed, even if it waits elsewhere.
  live.failed = std::min(live.failed, live.accepted);
  live.pending = std::min(live.pending, live.accepted - live.failed);
  live.sent = live.accepted - live.pending - live.failed;
  live.store = sum_shards(store_);
  live.accepting = store_.admission() == storage::Refusal::kNone;
  if (!live.accepting) live.refusal = store_.admission_detail();
  live.ready = live.accepting && ready() && (pressed_ == nullptr || !pressed_());
  live.metrics = digest_metrics(metrics_);
  live.process = read_process_stats();
  std::lock_guard lock(mutex_);
  if (samples_.size() >= 2) {
    const Sample& from = samples_.front();
    const Sample& to = samples_.back();
    const double seconds = static_cast<double>(to.at_ns - from.at_ns) / 1e9;
    live.accepted_per_second = static_cast<double>(to.accepted - from.accepted) / seconds;
    live.sent_per_second = static_cast<double>(to.sent - from.sent) / seconds;
  }
  return live;
}

void Stats::sample() {
  Sample sample;
  sample.at_ns = clock_.monotonic_ns();
  sample.accepted = store_.totals().accepted;
  for (const storage::LaneState& lane : store_.lanes()) sample.sent += lane.counts.sent;
  std::lock_guard lock(mutex_);
  // A replayed lane may count backwards for a moment; rates are never negative.
  if (!samples_.empty()) sample.sent = std::max(sample.sent, samples_.back().sent);
  if (!samples_.empty() && sample.at_ns <= samples_.back().at_ns) return;
  samples_.push_back(sample);
  if (samples_.size() > kSamples) samples_.pop_front();
}

Stats::LatencySample Stats::latency_base(const MetricDigest& now) {
  LatencySample sample;
  sample.at_ns = clock_.monotonic_ns();
  sample.commit = now.commit;
  sample.sync = now.sync;
  std::lock_guard lock(mutex_);
  while (latencies_.size() > 1 && sample.at_ns - latencies_.front().at_ns > kLatencyWindowNs)
    latencies_.pop_front();
  const LatencySample base = latencies_.empty() ? LatencySample() : latencies_.front();
  if (latencies_.empty() || sample.at_ns - latencies_.back().at_ns >= kLatencyStepNs)
    latencies_.push_back(sample);
  return base;
}

std::string Stats::live_json() {
  const Live live = this->live();
  JsonWriter json;
  json.begin_object();
  json.field("pending", live.pending).field("sent", live.sent).field("failed", live.failed);
  json.field("accepted", live.accepted).field("duplicates", live.duplicates);
  write_map(json, "rejected", live.metrics.rejected);
  write_map(json, "refused_requests", live.metrics.refused);
  for (const auto kind : {storage::LaneKind::kDestination, storage::LaneKind::kConsumer}) {
    json.key(kind == storage::LaneKind::kDestination ? "destinations" : "consumers").begin_object();
    for (const LiveLane& lane : live.lanes)
      if (lane.kind == kind) write_live_lane(json, lane, live.wall_ms);
    json.end_object();
  }
  json.key("store").begin_object().field("id", store_.id().text());
  json.field("ready", live.ready);
  json.field("accepting", live.accepting).field("refusal", live.refusal);
  json.field("events", live.store.end - live.store.first).field("bytes", live.store.bytes);
  json.field("max_bytes", live.metrics.store_max_bytes).field("segments", live.store.segments);
  json.field("disk_free_bytes", live.metrics.disk_free);
  json.field("append_queue_requests", live.metrics.append_queue);
  json.field("damaged_segments", live.store.damaged_segments);
  json.field("directory", info_.data_directory).end_object();
  json.key("dedupe").begin_object().field("entries", live.store.dedupe_entries);
  json.field("bytes", live.metrics.dedupe_bytes);
  json.field("window_seconds", live.store.dedupe_window_ms / 1000).end_object();
  json.key("rates").begin_object().field("accepted_per_second", live.accepted_per_second);
  json.field("sent_per_second", live.sent_per_second).end_object();
  const LatencySample base = latency_base(live.metrics);
  json.key("latency").begin_object();
  write_quantiles(json, "commit", quantiles_between(base.commit, live.metrics.commit));
  write_quantiles(json, "sync", quantiles_between(base.sync, live.metrics.sync));
  json.end_object();
  write_map(json, "connections", live.metrics.connections);
  write_process(json, live);
  json.field("node", info_.node).field("version", info_.version);
  json.field("uptime_seconds", (live.wall_ms - info_.started_ms) / 1000);
  json.field("generated_at", format_rfc3339_ms(live.wall_ms)).end_object();
  return json.take();
}

std::string Stats::live_text() const {
  const Live live = this->live();
  std::string out = fmt::format("weir {} on {}, up {}\n", info_.version, info_.node,
                                human_seconds((live.wall_ms - info_.started_ms) / 1000));
  out += fmt::format("store      {} at {}: {}, {} in {}\n", store_.id().text(),
                     info_.data_directory, human_count(live.store.end - live.store.first, "event"),
                     human_bytes(live.store.bytes), human_count(live.store.segments, "segment"));
  out += live.accepting ? "state      accepting events\n"
                        : fmt::format("state      REFUSING events: {}\n", live.refusal);
  if (live.store.damaged_segments != 0)
    out += fmt::format("damaged    {} segments were set aside, see `weir store inspect`\n",
                       live.store.damaged_segments);
  out += fmt::format("dedupe     {} remembered, the oldest for {}\n",
                     human_count(live.store.dedupe_entries, "id"),
                     human_seconds(live.store.dedupe_window_ms / 1000));
  out += fmt::format("rates      {:.1f} events/s in, {:.1f} events/s out\n",
                     live.accepted_per_second, live.sent_per_second);
  out += fmt::format("events     {} accepted, {} duplicates: {} pending, {} sent, {} failed\n",
                     live.accepted, live.duplicates, live.pending, live.sent, live.failed);
  for (const auto& [reason, count] : live.metrics.rejected)
    out += fmt::format("rejected   {:>10}  {}\n", count, reason);
  for (const auto& [reason, count] : live.metrics.refused)
    out += fmt::format("refused    {:>10}  requests: {}\n", count, reason);
  if (live.lanes.empty()) {
    out += "\nNo destination and no consumer: events wait in the store.\n";
    return out;
  }
  out += fmt::format("\n{:<20} {:<12} {:>10} {:>10} {:>10} {:>10}  {}\n", "destination", "state",
                     "pending", "sent", "failed", "oldest", "last error");
  for (const LiveLane& lane : live.lanes) {
    const int64_t age = oldest_seconds(lane, live.wall_ms);
    const bool destination = lane.kind == storage::LaneKind::kDestination;
    out += fmt::format("{:<20} {:<12} {:>10} {:>10} {:>10} {:>10}  {}\n", lane.name,
                       destination ? lane.status.state : "consumer", lane.pending, lane.counts.sent,
                       lane.counts.failed + lane.counts.expired,
                       lane.pending == 0 ? "-" : human_seconds(age), lane_remark(lane));
  }
  return out;
}

std::string Stats::top_screen(size_t columns, size_t rows) {
  const Live live = this->live();
  const LatencySample base = latency_base(live.metrics);
  return top_text(live, info_,
                  {quantiles_between(base.commit, live.metrics.commit),
                   quantiles_between(base.sync, live.metrics.sync)},
                  columns, rows);
}

std::string Stats::cached_json() const {
  std::lock_guard lock(mutex_);
  if (cached_.empty() || clock_.monotonic_ns() - cached_at_ns_ >= cache_ttl_ms() * 1'000'000)
    return {};
  return cached_;
}

Result<std::string> Stats::fresh_json(bool forced) {
  WEIR_ASSIGN_OR_RETURN(const storage::FreshCounts fresh, store_.fresh_counts());
  (forced ? computed_forced_ : computed_expired_).add();
  const Live live = this->live();
  JsonWriter json;
  json.begin_object();
  write_counts(json, fresh.total);
  json.field("accepted", live.accepted).field("duplicates", live.duplicates);
  write_map(json, "rejected", live.metrics.rejected);
  for (const auto kind : {storage::LaneKind::kDestination, storage::LaneKind::kConsumer}) {
    json.key(kind == storage::LaneKind::kDestination ? "destinations" : "consumers").begin_object();
    for (const LiveLane& lane : live.lanes) {
      if (lane.kind != kind) continue;
      const auto found = fresh.lanes.find(lane.name);
      json.key(lane.name).begin_object();
      const storage::EventStates removed{lane.pending, lane.counts.sent,
                                         lane.counts.failed + lane.counts.expired};
      write_counts(json, found == fresh.lanes.end() ? removed : found->second);
      json.field("state", kind == storage::LaneKind::kConsumer ? "" : lane.status.state.c_str());
      json.field("oldest_pending_seconds", oldest_seconds(lane, live.wall_ms));
      if (kind == storage::LaneKind::kConsumer) write_leases(json, lane);
      json.end_object();
    }
    json.end_object();
  }
  json.key("tenants").begin_object();
  for (const auto& [tenant, states] : fresh.tenants) {
    json.key(tenant).begin_object();
    write_counts(json, states);
    json.end_object();
  }
  json.end_object();
  json.field("generated_at", format_rfc3339_ms(clock_.wall_ms()));
  json.field("cache_ttl_seconds", cache_ttl_ms() / 1000).end_object();
  std::lock_guard lock(mutex_);
  cached_ = json.take();
  cached_at_ns_ = clock_.monotonic_ns();
  return cached_;
}

}  // namespace weir::admin
