#include "storage/maintenance.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/base/log.h"
#include "storage/dead_letters.h"
#include "storage/disk.h"
#include "storage/file_names.h"
#include "storage/retention.h"

namespace weir::storage {
namespace {

constexpr int64_t kLongestSleepMs = 250;   // while something is going on
constexpr int64_t kLongestIdleMs = 1'000;  // an idle process should hardly run at all
constexpr int64_t kRetainEveryNs = 1'000'000'000;
constexpr int64_t kDiskFullAtLeastNs = 250'000'000;
constexpr int64_t kFillPauseNs = 2'000'000;
constexpr unsigned kFillPieces = 2;           // between two pauses: 2 MiB
constexpr uint64_t kFillFreeSegments = 4;     // free space that filling asks for
constexpr uint64_t kDefaultShareOfDisk = 80;  // per cent
constexpr uint64_t kMostHysteresis = uint64_t{8} << 20;

uint64_t share_of_disk(const std::string& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return uint64_t{1} << 40;
  return uint64_t{info.f_blocks} * info.f_frsize / 100 * kDefaultShareOfDisk;
}

}  // namespace

Maintenance::Maintenance(const Parts& parts, std::vector<OrphanSidecar> orphans)
    : parts_(parts),
      max_bytes_(parts.options.max_bytes != 0 ? parts.options.max_bytes
                                              : share_of_disk(parts.options.directory)),
      orphans_(std::move(orphans)),
      disk_pressure_(parts.options.pressure),
      lag_pressure_(parts.options.pressure),
      accepting_(parts.metrics.gauge(Metric::kStoreState)),
      disk_free_(parts.metrics.gauge(Metric::kDiskFreeBytes)),
      max_bytes_gauge_(parts.metrics.gauge(Metric::kStoreMaxBytes)),
      oldest_pending_(parts.metrics.gauge(Metric::kOldestPending)),
      disk_percent_(parts.metrics.gauge(Metric::kPressurePercent, {"disk"})),
      lag_percent_(parts.metrics.gauge(Metric::kPressurePercent, {"lag"})),
      pressure_level_(parts.metrics.gauge(Metric::kPressureLevel)) {
  max_bytes_gauge_.set(static_cast<int64_t>(max_bytes_));
  for (size_t i = 0; i < parts_.sets.size(); ++i) {
    const std::string shard = std::to_string(i);
    MetricRegistry& metrics = parts_.metrics;
    gauges_.push_back({metrics.gauge(Metric::kStoreEvents, {shard}),
                       metrics.gauge(Metric::kStoreBytes, {shard}),
                       metrics.gauge(Metric::kStoreSegments, {shard, "active"}),
                       metrics.gauge(Metric::kStoreSegments, {shard, "sealed"}),
                       metrics.gauge(Metric::kStoreSegments, {shard, "damaged"}),
                       metrics.gauge(Metric::kDedupeEntries, {shard}),
                       metrics.gauge(Metric::kDedupeWindow, {shard}),
                       metrics.gauge(Metric::kDedupeBytes, {shard})});
  }
}

Maintenance::~Maintenance() { stop(); }

void Maintenance::start() {
  retain();
  thread_ = std::thread([this] { run(); });
}

void Maintenance::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  wakeup_.notify();
  thread_.join();
}

void Maintenance::run() {
  const int64_t quarter_ms = std::max<int64_t>(parts_.options.commit_deadline_ms / 4, 1);
  bool filling = false;
  while (!stopping_.load(std::memory_order_acquire)) {
    const int64_t sleep_ms = std::min(quarter_ms, busy() ? kLongestSleepMs : kLongestIdleMs);
    wakeup_.wait(filling ? kFillPauseNs : sleep_ms * 1'000'000);
    const bool asked = retention_wanted_.exchange(false, std::memory_order_relaxed);
    watch_commits();
    prepare_successors();
    filling = fill_successors();
    write_sidecars();
    const bool rising = disk_pressure_.rising() || lag_pressure_.rising();
    const bool due = parts_.clock.monotonic_ns() - retained_ns_ >=
                     (rising ? PressureSteps::kStepNs : kRetainEveryNs);
    if (asked || due || parts_.admission.has(Refusal::kDiskFull)) retain();
  }
  // The last segment too: then the next start has nothing to walk.
  write_sidecars();
}

bool Maintenance::busy() const {
  return parts_.admission.current() != Refusal::kNone || disk_pressure_.rising() ||
         lag_pressure_.rising() ||
         std::any_of(parts_.writers.begin(), parts_.writers.end(),
                     [](const Writer* writer) { return writer->commit_started_ns() != 0; });
}

// A sync that has been running for longer than the deadline: whether it will succeed is unknown.
// The writer clears the state when it returns.
void Maintenance::watch_commits() {
  const int64_t now = parts_.clock.monotonic_ns();
  for (const Writer* writer : parts_.writers) {
    const int64_t started = writer->commit_started_ns();
    if (started == 0 || now - started < parts_.options.commit_deadline_ms * 1'000'000) continue;
    parts_.admission.set(Refusal::kSyncStalled,
                         "a commit has been waiting for the disk for longer than "
                         "store.commit_deadline; its outcome is unknown");
    // It may have returned in between.
    if (writer->commit_started_ns() != started) parts_.admission.clear(Refusal::kSyncStalled);
  }
}

void Maintenance::prepare_successors() {
  if (parts_.admission.has(Refusal::kSyncFailed)) return;
  for (Writer* writer : parts_.writers) {
    if (!writer->successor().wanted()) continue;
    if (auto made = writer->successor().prepare(); !made)
      log::warn("successor_not_made", {{"error", made.error().message}});
  }
}

// What is due of the zeros, a slice of it, so that commits find the disk free in between. Only
// where there is plenty of space: a small disk is better used up to its end. Returns whether more
// is due.
bool Maintenance::fill_successors() {
  if (!parts_.options.zero_fill || parts_.admission.current() != Refusal::kNone) return false;
  const uint64_t plenty =
      parts_.options.reserve_bytes + kFillFreeSegments * parts_.options.segment_bytes;
  if (free_bytes_ < plenty) return false;
  bool more = false;
  for (Writer* writer : parts_.writers)
    for (unsigned piece = 0; piece < kFillPieces && writer->successor().fill(); ++piece)
      more |= piece + 1 == kFillPieces;
  return more;
}

void Maintenance::write_sidecars() {
  if (parts_.admission.has(Refusal::kSyncFailed)) return;
  for (SegmentSet* set : parts_.sets) {
    for (const uint64_t first : set->without_sidecar()) {
      if (auto written = set->write_sidecar(first); !written)
        log::warn("sidecar_not_written", {{"error", written.error().message}});
    }
  }
}

// One cell per reason, kept: the registry makes a new one at each call.
Counter& Maintenance::deleted_counter(std::string_view reason) {
  auto found = deleted_.find(reason);
  if (found == deleted_.end()) {
    Counter& cell = parts_.metrics.counter(Metric::kSegmentsDeleted, {std::string(reason)});
    found = deleted_.emplace(reason, &cell).first;
  }
  return *found->second;
}

void Maintenance::retain() {
  retained_ns_ = parts_.clock.monotonic_ns();
  const auto disk_free = disk_free_bytes(parts_.options.directory);
  if (!disk_free) {
    log::warn("disk_unknown", {{"error", disk_free.error().message}});
    return;
  }
  free_bytes_ = *disk_free;
  const RetentionPlan plan = plan_retention(describe(*disk_free));
  apply(plan);
  judge_pressure(plan);
  judge_disk(plan, *disk_free);
  delete_orphans();
  publish(*disk_free);
}

RetentionInput Maintenance::describe(uint64_t disk_free) {
  const StoreOptions& options = parts_.options;
  RetentionInput input;
  for (const SegmentSet* set : parts_.sets) {
    auto& rows = input.shards.emplace_back();
    for (const SegmentSet::Row& row : set->rows())
      rows.push_back({row.summary.first, row.summary.last, row.bytes, row.sealed && row.has_sidecar,
                      row.summary.oldest_ms, row.summary.newest_ms});
  }
  input.lanes = parts_.state.retention_lanes();
  for (RetentionLane& lane : input.lanes) {
    for (unsigned shard = 0; shard < lane.backlog.size(); ++shard) {
      if (lane.backlog[shard] >= parts_.log.end(shard)) continue;
      const int64_t received = parts_.log.received_ms(shard, lane.backlog[shard]);
      if (received != 0 && (lane.oldest_pending_ms == 0 || received < lane.oldest_pending_ms))
        lane.oldest_pending_ms = received;
    }
  }
  input.retention_ms = options.retention_ms;
  input.max_bytes = max_bytes_;
  input.reserve_bytes = options.reserve_bytes;
  input.headroom_bytes = std::min(2 * options.segment_bytes, max_bytes_ / 8);
  input.other_bytes = parts_.state.dead_letters().bytes() + 2 * options.state_bytes;
  for (const OrphanSidecar& orphan : orphans_) input.other_bytes += orphan.bytes;
  input.disk_free_bytes = disk_free;
  input.now_ms = parts_.clock.wall_ms();
  int64_t oldest = 0;
  for (const RetentionLane& lane : input.lanes)
    if (lane.oldest_pending_ms != 0 && (oldest == 0 || lane.oldest_pending_ms < oldest))
      oldest = lane.oldest_pending_ms;
  oldest_pending_.set(oldest == 0 ? 0 : std::max<int64_t>(input.now_ms - oldest, 0) / 1000);
  return input;
}

void Maintenance::apply(const RetentionPlan& plan) {
  if (!plan.expiries.empty()) {
    if (auto expired = parts_.state.expire(plan.expiries, parts_.log); !expired)
      log::warn("expiry_failed", {{"error", expired.error().message}});
  }
  for (const Deletion& deletion : plan.deletions)
    if (!delete_segment(deletion)) break;
}

// First the commit that says it is gone, then the file: a crash between the two leaves a leftover
// that the next start deletes.
bool Maintenance::delete_segment(const Deletion& deletion) {
  SegmentSet& set = *parts_.sets[deletion.shard];
  for (const SegmentSet::Row& row : set.rows()) {
    if (row.summary.first != deletion.first) continue;
    SegmentTrim trim;
    trim.shard = deletion.shard;
    trim.last = row.summary.last;
    trim.accepted = {row.summary.events, row.summary.tenants};
    if (auto trimmed = parts_.state.trim(trim, parts_.log); !trimmed) {
      log::warn("segment_not_deleted", {{"error", trimmed.error().message}});
      return false;
    }
    if (auto removed = set.remove(row.summary.first); !removed)
      log::warn("segment_not_deleted", {{"error", removed.error().message}});
    deleted_counter(deletion.reason).add();
    log::info("segment_deleted", {{"shard", deletion.shard},
                                  {"first", row.summary.first},
                                  {"last", row.summary.last},
                                  {"events", row.summary.events},
                                  {"reason", deletion.reason}});
    const std::string sidecar =
        set.directory() + "/" + sidecar_name(deletion.shard, row.summary.first);
    orphans_.push_back(
        {deletion.shard, row.summary.first, file_bytes(sidecar), row.summary.committed_ms});
    return true;
  }
  return true;
}

// Full below the reserve, and after a write that failed for want of space; over only when there is
// clearly more again.
void Maintenance::judge_disk(const RetentionPlan& plan, uint64_t disk_free) {
  Admission& admission = parts_.admission;
  for (const Refusal refusal : {Refusal::kStoreFull, Refusal::kBacklogFull}) {
    if (plan.refusal == refusal) {
      admission.set(refusal, plan.detail);
    } else {
      admission.clear(refusal);
    }
  }
  const int64_t now = parts_.clock.monotonic_ns();
  if (plan.refusal == Refusal::kDiskFull) admission.set(Refusal::kDiskFull, plan.detail);
  if (!admission.has(Refusal::kDiskFull)) {
    disk_full_since_ns_ = 0;
    return;
  }
  if (disk_full_since_ns_ == 0) disk_full_since_ns_ = now;
  const uint64_t reserve = parts_.options.reserve_bytes;
  const bool roomy = disk_free >= reserve + std::min(reserve / 8, kMostHysteresis);
  if (plan.refusal == Refusal::kDiskFull || !roomy ||
      now - disk_full_since_ns_ < kDiskFullAtLeastNs)
    return;
  // The next commit tries; should it fail for want of space, the state is back.
  admission.clear(Refusal::kDiskFull);
  disk_full_since_ns_ = 0;
}

// The graver of the two is shown; the writers of reasons say which.
void Maintenance::judge_pressure(const RetentionPlan& plan) {
  const int64_t now = parts_.clock.monotonic_ns();
  disk_percent_.set(plan.disk.percent);
  lag_percent_.set(plan.lag.percent);
  const PressureLimits limits = parts_.pressure_limits.get();
  disk_pressure_.set_limits(limits);
  lag_pressure_.set_limits(limits);
  const PressureLevel disk = disk_pressure_.look(plan.disk.percent, now);
  const PressureLevel lag = lag_pressure_.look(plan.lag.percent, now);
  Pressure pressure;
  pressure.level = std::max(disk, lag);
  if (pressure.level != PressureLevel::kNone)
    pressure.cause = disk >= lag ? PressureCause::kDisk : PressureCause::kLag;
  const std::string detail = pressure.cause == PressureCause::kNone   ? ""
                             : pressure.cause == PressureCause::kDisk ? plan.disk.detail
                                                                      : plan.lag.detail;
  {
    const std::lock_guard lock(detail_mutex_);
    pressure_detail_ = detail;
  }
  const Pressure before = parts_.pressure.exchange(pressure, std::memory_order_relaxed);
  pressure_level_.set(static_cast<int64_t>(pressure.level));
  if (before.level == pressure.level) return;
  static constexpr std::string_view kMeaning[] = {"everything is accepted", "readiness is red",
                                                  "events of low priority are shed",
                                                  "events of low and normal priority are shed"};
  log::warn("pressure", {{"cause", pressure_cause_name(pressure.cause)},
                         {"meaning", kMeaning[static_cast<size_t>(pressure.level)]},
                         {"detail", detail}});
}

std::string Maintenance::pressure_detail() const {
  const std::lock_guard lock(detail_mutex_);
  return pressure_detail_;
}

// Sidecars of deleted segments, once their fingerprints are out of the dedupe window.
void Maintenance::delete_orphans() {
  const int64_t oldest = parts_.clock.wall_ms() - parts_.options.dedupe_window_ms;
  std::erase_if(orphans_, [&](const OrphanSidecar& orphan) {
    if (orphan.committed_ms >= oldest) return false;
    const std::string path =
        parts_.options.directory + "/" + sidecar_name(orphan.shard, orphan.first);
    if (unlink(path.c_str()) != 0 && errno != ENOENT)
      log::warn("sidecar_not_deleted", {{"file", path}});
    return true;
  });
}

void Maintenance::publish(uint64_t disk_free) {
  disk_free_.set(static_cast<int64_t>(disk_free));
  accepting_.set(parts_.admission.current() == Refusal::kNone ? 1 : 0);
  for (size_t i = 0; i < parts_.sets.size(); ++i) {
    uint64_t events = 0;
    uint64_t bytes = 0;
    int64_t sealed = 0;
    for (const SegmentSet::Row& row : parts_.sets[i]->rows()) {
      events += row.summary.events;
      bytes += row.bytes;
      sealed += row.sealed ? 1 : 0;
    }
    const ShardGauges& gauges = gauges_[i];
    gauges.events.set(static_cast<int64_t>(events));
    gauges.bytes.set(static_cast<int64_t>(bytes));
    gauges.active.set(1);
    gauges.sealed.set(sealed);
    gauges.damaged.set(static_cast<int64_t>(parts_.sets[i]->damaged()));
    gauges.dedupe_entries.set(static_cast<int64_t>(parts_.writers[i]->dedupe_entries()));
    gauges.dedupe_window.set(parts_.writers[i]->dedupe_window_ms() / 1000);
    gauges.dedupe_bytes.set(static_cast<int64_t>(parts_.writers[i]->dedupe_bytes()));
  }
}

}  // namespace weir::storage
