// The composition of the store: who exists, in which order it starts and stops, who tells whom.
// Path: cold, but for on_commit() (per commit) and read().
//
//   reactors --StoreAppender--> Writer (one per shard) --> SegmentSet --> LogReader --> forwarder
//                                 |  DedupeIndex              ^                           |
//                                 v                           |                           v
//                            Maintenance (retention, sidecars, successors) <--- State (lanes)
#include "storage/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "storage/admission.h"
#include "storage/appender.h"
#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/dead_letters.h"
#include "storage/directory_lock.h"
#include "storage/fresh_counts.h"
#include "storage/log_reader.h"
#include "storage/maintenance.h"
#include "storage/recovery.h"
#include "storage/state.h"
#include "storage/writer.h"

namespace weir::storage {
namespace {

class StoreImpl final : public Store, public WriterEvents {
 public:
  StoreImpl(const StoreOptions& options, const Clock& clock, MetricRegistry& metrics)
      : options_(options),
        clock_(clock),
        metrics_(metrics),
        admission_state_(admission_),
        queue_(options.append_queue_bytes) {}
  ~StoreImpl() override { stop(); }

  Status start();
  void stop() override;

  const StoreId& id() const override { return state_->identity().id; }
  const DedupeSecret& dedupe_secret() const override { return state_->identity().secret; }
  unsigned shards() const override { return static_cast<unsigned>(sets_.size()); }

  std::string admission_detail() const override { return admission_state_.detail(); }
  std::string pressure_detail() const override {
    return maintenance_ == nullptr ? "" : maintenance_->pressure_detail();
  }
  unsigned append_queue_percent() const override {
    return static_cast<unsigned>(queue_.bytes() * 100 / queue_.max_bytes());
  }
  void set_draining(bool draining) override {
    if (draining)
      admission_state_.set(Refusal::kDraining,
                           "it was asked to drain (`weir drain --resume` ends it)");
    else
      admission_state_.clear(Refusal::kDraining);
  }
  std::unique_ptr<Appender> make_appender(Wakeup& wakeup) override;

  ShardStatus shard_status(unsigned shard) const override;
  uint64_t committed_end(unsigned shard) const override { return sets_[shard]->committed_end(); }
  Result<ReadResult> read(unsigned shard, uint64_t from, const ReadLimits& limits,
                          FunctionRef<bool(const StoredEvent&)> visit) override {
    return log_->read(shard, from, limits, visit);
  }
  Result<std::optional<Position>> find(std::string_view tenant, std::string_view key) override;
  Result<EventPlace> place(Position position) const override {
    return log_->place(position.shard, position.number);
  }
  void subscribe(Wakeup& wakeup) override;
  void unsubscribe(Wakeup& wakeup) override;

  uint64_t next_batch_number() override { return state_->next_batch_number(); }
  std::string batch_id(uint64_t number) const override {
    return fmt::format("{}-{:x}", id().text(), number);
  }
  Result<LaneState> lane(std::string_view name) const override { return state_->lane(name); }
  std::vector<LaneState> lanes() const override { return state_->lanes(); }
  std::unique_ptr<LaneClient> make_lane_client(Wakeup& wakeup) override {
    return state_->make_lane_client(wakeup);
  }
  Status create_lane(const LaneOptions& lane) override { return state_->create_lane(lane, ends()); }
  Status delete_lane(std::string_view name) override { return state_->delete_lane(name); }
  Status configure_lanes(const std::vector<LaneOptions>& lanes) override {
    return state_->configure_lanes(lanes, ends());
  }
  int64_t oldest_pending_ms(std::string_view name) const override {
    const auto state = state_->lane(name);
    return state ? storage::oldest_pending_ms(*state, *log_) : 0;
  }

  StoreTotals totals() const override;
  Result<FreshCounts> fresh_counts() override { return storage::fresh_counts(*state_, *log_); }

  Result<std::vector<DeadLetter>> dead_letters(const DeadLetterFilter& filter) override {
    return state_->dead_letters().list(filter);
  }
  Result<DeadLetter> dead_letter(uint64_t id) override { return state_->dead_letters().get(id); }
  Result<std::vector<DeliveryRow>> deliveries(std::string_view lane, Position position) override {
    return state_->deliveries(lane, position);
  }
  Result<std::vector<ExpiredRange>> expired(std::string_view lane) override {
    return state_->expired(lane);
  }
  Result<uint64_t> requeue_expired(std::string_view lane,
                                   const std::vector<ExpiredRange>& ranges) override {
    return state_->requeue_expired(lane, ranges, *log_);
  }
  Result<Replayed> replay(std::string_view lane, const std::vector<ReplayRange>& ranges) override {
    return state_->replay(lane, ranges, *log_);
  }

 private:
  void on_commit(unsigned shard, const CommitBlock& block) override;
  void wake_filling() override {
    if (maintenance_ != nullptr) maintenance_->wake_to_fill();
  }
  void wake_maintenance() override {
    if (maintenance_ != nullptr) maintenance_->wake();
  }
  Status recover_shards(Recovery& recovery);
  void add_accepted(const TenantCounts& counts);
  std::vector<uint64_t> ends() const;

  const StoreOptions options_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  Admission admission_state_;
  AppendQueue queue_;
  // In the order of their making; destroyed the other way round.
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<DamageCheck> check_;
  std::unique_ptr<State> state_;
  std::vector<std::unique_ptr<SegmentSet>> sets_;
  std::unique_ptr<LogReader> log_;
  std::vector<std::unique_ptr<Writer>> writers_;
  std::unique_ptr<Maintenance> maintenance_;
  std::vector<OrphanSidecar> orphans_;
  bool stopped_ = false;

  mutable std::mutex accepted_mutex_;
  TenantCounts accepted_;

  std::mutex subscribers_mutex_;
  std::vector<Wakeup*> subscribers_;
};

Status StoreImpl::start() {
  set_pressure_limits(options_.pressure);
  if (options_.shards == 0 || options_.shards > kMaxShards)
    return fail(ErrorCode::kInvalidArgument, "store.shards is {}, it must be 1 to {}",
                options_.shards, kMaxShards);
  WEIR_ASSIGN_OR_RETURN(lock_, DirectoryLock::take(options_.directory));
  WEIR_ASSIGN_OR_RETURN(check_, DamageCheck::start());
  Recovery recovery(options_.directory, *check_, clock_, metrics_);
  WEIR_RETURN_IF_ERROR(recovery.scan());
  WEIR_ASSIGN_OR_RETURN(
      state_, State::open(options_, clock_, metrics_, [&] { return recovery.identity(); }));
  WEIR_RETURN_IF_ERROR(recover_shards(recovery));
  WEIR_RETURN_IF_ERROR(state_->start(options_.lanes, ends()));
  std::vector<SegmentSet*> sets;
  std::vector<Writer*> writers;
  for (size_t i = 0; i < sets_.size(); ++i) {
    sets.push_back(sets_[i].get());
    writers.push_back(writers_[i].get());
  }
  maintenance_ = std::make_unique<Maintenance>(
      Maintenance::Parts{options_, clock_, metrics_, admission_state_, pressure_, pressure_limits_,
                         *state_, *log_, sets, writers},
      std::move(orphans_));
  for (auto& writer : writers_) WEIR_RETURN_IF_ERROR(writer->start());
  maintenance_->start();
  return {};
}

Status StoreImpl::recover_shards(Recovery& recovery) {
  const StoreIdentity& identity = state_->identity();
  const std::vector<LaneState> lanes = state_->lanes();
  const WriterLimits limits = WriterLimits::from(options_);
  std::vector<SegmentSet*> sets;
  for (unsigned shard = 0; shard < identity.shards; ++shard) {
    sets_.push_back(std::make_unique<SegmentSet>(
        options_.directory, shard, *check_, [this, shard](const SegmentSummary& lost) {
          metrics_.counter(Metric::kDamagedSegments, {"segment"}).add();
          if (shard < writers_.size()) writers_[shard]->forget_originals(lost.first, lost.last);
        }));
    sets.push_back(sets_.back().get());
    Recovery::Known known;
    known.identity = identity;
    known.clean_stop = state_->was_clean_stop();
    known.lowest_live = state_->past(shard).lowest_live;
    for (const LaneState& lane : lanes)
      if (shard < lane.shards.size())
        known.frontier = std::max(known.frontier, lane.shards[shard].frontier);
    known.dedupe = {std::max<uint64_t>(options_.dedupe_max_entries / identity.shards, 1),
                    options_.dedupe_window_ms};
    WEIR_ASSIGN_OR_RETURN(auto recovered, recovery.recover(shard, known, *sets_.back()));
    sets_.back()->count_damaged(recovered.damaged_segments);
    orphans_.insert(orphans_.end(), recovered.orphans.begin(), recovered.orphans.end());
    add_accepted(recovered.damaged_events);
    add_accepted(state_->past(shard).accepted);
    for (const SegmentSet::Row& row : sets_.back()->rows())
      add_accepted({row.summary.events, row.summary.tenants});
    SegmentHeader header;
    header.shard = shard;
    header.store_id = identity.id;
    header.secret = identity.secret;
    writers_.push_back(std::make_unique<Writer>(shard, limits, header, options_.directory, clock_,
                                                metrics_, *sets_.back(), admission_state_, queue_,
                                                *this, std::move(recovered.index)));
  }
  log_ = std::make_unique<LogReader>(sets, metrics_);
  return {};
}

// New work is refused first, then what was lent is committed, then the threads end; the last
// segment gets its sidecar; the state last, because it notes the clean stop.
void StoreImpl::stop() {
  if (stopped_) return;
  stopped_ = true;
  admission_state_.set(Refusal::kStopping, "the store is shutting down");
  for (auto& writer : writers_) writer->stop();
  if (!admission_state_.has(Refusal::kSyncFailed))
    for (auto& set : sets_) set->seal_active();
  if (maintenance_ != nullptr) maintenance_->stop();
  // After a failed sync the page cache shows what the disk may not have: the next start must not
  // believe it.
  if (state_ != nullptr) state_->stop(!admission_state_.has(Refusal::kSyncFailed));
}

std::unique_ptr<Appender> StoreImpl::make_appender(Wakeup& wakeup) {
  std::vector<PartSink*> sinks;
  for (auto& writer : writers_) sinks.push_back(writer.get());
  return std::make_unique<StoreAppender>(std::move(sinks), queue_, admission_state_,
                                         make_refusal_counters(metrics_), wakeup);
}

ShardStatus StoreImpl::shard_status(unsigned shard) const {
  const SegmentSet& set = *sets_[shard];
  ShardStatus status;
  status.first = set.first();
  status.end = set.committed_end();
  for (const SegmentSet::Row& row : set.rows()) {
    status.bytes += row.bytes;
    ++status.segments;
  }
  status.damaged_segments = set.damaged();
  status.dedupe_entries = writers_[shard]->dedupe_entries();
  status.dedupe_window_ms = writers_[shard]->dedupe_window_ms();
  return status;
}

Result<std::optional<Position>> StoreImpl::find(std::string_view tenant, std::string_view key) {
  const Fingerprint fingerprint = make_fingerprint(dedupe_secret(), tenant, key);
  const unsigned shard = shard_of(fingerprint, sets_.size());
  WEIR_ASSIGN_OR_RETURN(const auto number, log_->find(shard, fingerprint));
  if (!number) return std::optional<Position>();
  return std::optional<Position>(Position{static_cast<uint16_t>(shard), *number});
}

void StoreImpl::subscribe(Wakeup& wakeup) {
  const std::lock_guard lock(subscribers_mutex_);
  subscribers_.push_back(&wakeup);
}

void StoreImpl::unsubscribe(Wakeup& wakeup) {
  const std::lock_guard lock(subscribers_mutex_);
  std::erase(subscribers_, &wakeup);
}

void StoreImpl::on_commit(unsigned, const CommitBlock& block) {
  {
    const std::lock_guard lock(accepted_mutex_);
    accepted_.events += block.count;
    block.for_each_tenant([&](const TenantEvents& tenant) {
      auto found = accepted_.tenants.find(tenant.tenant);
      if (found == accepted_.tenants.end())
        found = accepted_.tenants.emplace(std::string(tenant.tenant), 0).first;
      found->second += tenant.events;
    });
  }
  const std::lock_guard lock(subscribers_mutex_);
  for (Wakeup* subscriber : subscribers_) subscriber->notify();
}

void StoreImpl::add_accepted(const TenantCounts& counts) { accepted_.add(counts); }

std::vector<uint64_t> StoreImpl::ends() const {
  std::vector<uint64_t> ends;
  for (const auto& set : sets_) ends.push_back(set->committed_end());
  return ends;
}

StoreTotals StoreImpl::totals() const {
  StoreTotals totals;
  for (const auto& writer : writers_) totals.duplicates += writer->duplicates();
  const std::lock_guard lock(accepted_mutex_);
  totals.accepted = accepted_.events;
  for (const auto& [tenant, events] : accepted_.tenants) totals.tenants[tenant].accepted = events;
  return totals;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options, const Clock& clock,
                                           MetricRegistry& metrics) {
  auto store = std::make_unique<StoreImpl>(options, clock, metrics);
  WEIR_RETURN_IF_ERROR(store->start());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace weir::storage
