#include "collector/admin/top.h"

#include <algorithm>
#include <vector>

#include "collector/admin/human_text.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {
namespace {

std::string quantiles_text(std::string_view name, const Quantiles& quantiles) {
  if (quantiles.count == 0) return fmt::format("{} -", name);
  return fmt::format("{} p50 {:.1f} p99 {:.1f} ms", name, quantiles.p50_ms, quantiles.p99_ms);
}

std::string share_text(uint64_t used, uint64_t limit) {
  std::string text = human_bytes(used);
  if (limit == 0) return text;
  return fmt::format("{} of {} ({:.0f} %)", text, human_bytes(limit),
                     static_cast<double>(used) * 100 / static_cast<double>(limit));
}

std::string lane_line(const LiveLane& lane, int64_t now_ms) {
  const bool destination = lane.kind == storage::LaneKind::kDestination;
  const int64_t age = lane.oldest_pending_ms == 0
                          ? 0
                          : std::max<int64_t>(0, now_ms - lane.oldest_pending_ms) / 1000;
  return fmt::format("{:<16} {:<11} {:>9} {:>10} {:>7} {:>7}  {}", terminal_text(lane.name, 16),
                     destination ? lane.status.state : "consumer", lane.pending, lane.counts.sent,
                     lane.counts.failed + lane.counts.expired,
                     lane.pending == 0 ? "-" : human_seconds(age), lane_remark(lane));
}

std::string counts_line(std::string_view what, const std::map<std::string, uint64_t>& counts) {
  std::vector<std::pair<uint64_t, std::string>> sorted;
  for (const auto& [reason, count] : counts) sorted.emplace_back(count, reason);
  std::sort(sorted.rbegin(), sorted.rend());
  std::string line = fmt::format("{:<9}", what);
  for (const auto& [count, reason] : sorted) line += fmt::format("  {} {}", count, reason);
  return line;
}

}  // namespace

std::string top_text(const Live& live, const NodeInfo& info, const TopLatencies& latencies,
                     size_t columns, size_t rows) {
  std::vector<std::string> lines;
  const std::string state =
      live.accepting ? (live.ready ? "accepting" : "NOT READY") : "REFUSING: " + live.refusal;
  lines.push_back(fmt::format("weir {} on {}, up {}   {}", info.version, info.node,
                              human_seconds((live.wall_ms - info.started_ms) / 1000), state));
  lines.push_back(fmt::format("rates      in {:.1f}/s   out {:.1f}/s   {}   {}",
                              live.accepted_per_second, live.sent_per_second,
                              quantiles_text("commit", latencies.commit),
                              quantiles_text("sync", latencies.sync)));
  lines.push_back(fmt::format("events     {} pending   {} sent   {} failed   {} accepted   {} dup",
                              live.pending, live.sent, live.failed, live.accepted,
                              live.duplicates));
  lines.push_back(fmt::format("disk       store {} in {} segments   {} free",
                              share_text(live.store.bytes, live.metrics.store_max_bytes),
                              live.store.segments, human_bytes(live.metrics.disk_free)));
  uint64_t connections = 0;
  for (const auto& [listener, open] : live.metrics.connections) connections += open;
  lines.push_back(
      fmt::format("memory     {} resident   bodies {}   {} keys   {} connections",
                  human_bytes(live.process.resident_bytes),
                  share_text(live.metrics.body_memory_used, live.metrics.body_memory_limit),
                  live.store.dedupe_entries, connections));
  if (!live.metrics.rejected.empty())
    lines.push_back(counts_line("rejected", live.metrics.rejected));
  if (!live.metrics.refused.empty()) lines.push_back(counts_line("refused", live.metrics.refused));
  lines.emplace_back();
  if (live.lanes.empty()) {
    lines.emplace_back("no destination and no consumer: events wait in the store");
  } else {
    lines.push_back(fmt::format("{:<16} {:<11} {:>9} {:>10} {:>7} {:>7}  {}", "destination",
                                "state", "pending", "sent", "failed", "oldest", "last error"));
    std::vector<const LiveLane*> lanes;
    for (const LiveLane& lane : live.lanes) lanes.push_back(&lane);
    // What lags most is what somebody looks for.
    std::stable_sort(lanes.begin(), lanes.end(),
                     [](const LiveLane* a, const LiveLane* b) { return a->pending > b->pending; });
    for (const LiveLane* lane : lanes) lines.push_back(lane_line(*lane, live.wall_ms));
  }
  if (lines.size() > rows && rows > 0) {
    const size_t hidden = lines.size() - rows + 1;
    lines.resize(rows - 1);
    lines.push_back(fmt::format("… {} more lines", hidden));
  }
  std::string out;
  for (const std::string& line : lines) out += terminal_text(line, columns) + "\n";
  return out;
}

}  // namespace weir::admin
