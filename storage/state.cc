#include "storage/state.h"

#include <algorithm>
#include <chrono>

#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/disk.h"
#include "storage/state_impl.h"

namespace weir::storage {
namespace {

constexpr int64_t kCopyIntervalMs = 60'000;
// After a start: how long an owner that was silent for max_idle has to come back.
constexpr int64_t kIdleGraceMs = 3'600'000;

std::string_view origin_name(StateOrigin origin) {
  switch (origin) {
    case StateOrigin::kCreated:
      return "created";
    case StateOrigin::kLoaded:
      return "loaded";
    case StateOrigin::kCopy:
      return "copy";
    case StateOrigin::kSegments:
      return "segments";
  }
  return "unknown";
}

}  // namespace

// ---------------------------------------------------------------- start and stop

StateImpl::StateImpl(OpenedState opened, const StoreOptions& options, const Clock& clock,
                     MetricRegistry& metrics)
    : options_(options),
      clock_(clock),
      metrics_(metrics),
      identity_(*opened.image.identity),
      origin_(opened.origin),
      was_clean_(opened.image.clean),
      file_(std::move(opened.file)),
      unfilled_from_(opened.unfilled_from),
      dead_letter_mark_(opened.image.dead_letter_mark),
      reserved_batches_(opened.image.next_batch),
      commit_seconds_(metrics.histogram(Metric::kStateCommitSeconds)),
      next_batch_(opened.image.next_batch) {
  delivery_counts_ = std::move(opened.delivery_rows);
  published_.past = std::move(opened.image.past);
  for (auto& [id, record] : opened.image.lanes) {
    next_lane_id_ = std::max(next_lane_id_, id + 1);
    // A consumer holds segments as long as it exists; a destination must be configured.
    record.holds = record.state.kind == LaneKind::kConsumer;
    record.options.name = record.state.name;
    record.options.kind = record.state.kind;
    record.options.max_idle_ms = record.state.max_idle_ms;
    const std::string name = record.state.name;
    published_.lanes[name] = std::make_shared<const LaneRecord>(std::move(record));
  }
}

Status StateImpl::open_dead_letters() {
  DeadLetters::Options options;
  options.directory = options_.directory;
  options.store_id = identity_.id;
  options.max_letters = options_.dead_letter_max;
  WEIR_ASSIGN_OR_RETURN(letters_, DeadLetters::open(options, dead_letter_mark_, clock_, metrics_));
  return {};
}

Status StateImpl::add_configured_lane(StateWork& work, const LaneOptions& options,
                                      const std::vector<uint64_t>& ends) {
  if (options.name.empty() || options.name.size() > kMaxLaneName)
    return fail(ErrorCode::kInvalidArgument, "a lane's name has 1 to {} bytes; \"{}\" has {}",
                kMaxLaneName, options.name, options.name.size());
  LaneRecord* record = work.lane(options.name);
  if (record == nullptr) {
    LaneRecord made = make_lane(next_lane_id_++, options, identity_.shards, ends);
    made.state.active_ms = clock_.wall_ms();
    return work.add_lane(std::move(made));
  }
  if (record->state.kind != options.kind)
    return fail(ErrorCode::kAlreadyExists,
                "{} is a {} in this data directory and cannot become the other; choose another "
                "name, or delete it first",
                options.name,
                record->state.kind == LaneKind::kConsumer ? "consumer" : "destination");
  record->options = options;
  record->holds = true;
  record->state.max_idle_ms = options.max_idle_ms;
  for (LaneShard& shard : record->state.shards) shard.ended = 0;
  return {};
}

// Lanes are these; a destination that is not among them ends where the log ends now.
Status StateImpl::configure(StateWork& work, const std::vector<LaneOptions>& lanes,
                            const std::vector<uint64_t>& ends) {
  for (const LaneOptions& lane : lanes) WEIR_RETURN_IF_ERROR(add_configured_lane(work, lane, ends));
  for (const std::string& name : work.lane_names()) {
    const bool configured = std::any_of(lanes.begin(), lanes.end(),
                                        [&](const LaneOptions& lane) { return lane.name == name; });
    LaneRecord& record = *work.lane(name);
    if (configured || record.state.kind != LaneKind::kDestination) continue;
    record.holds = false;
    if (record.state.removed()) continue;
    for (size_t shard = 0; shard < record.state.shards.size(); ++shard) {
      LaneShard& at = record.state.shards[shard];
      at.ended = std::max(at.frontier, shard < ends.size() ? ends[shard] : 0);
    }
  }
  return {};
}

Status StateImpl::start(const std::vector<LaneOptions>& lanes, const std::vector<uint64_t>& ends) {
  WEIR_CHECK(!running_ && !stopped_, "State::start called twice");
  started_ns_ = clock_.monotonic_ns();
  const auto begin = [&](StateWork& work) -> Status {
    WEIR_RETURN_IF_ERROR(configure(work, lanes, ends));
    WEIR_RETURN_IF_ERROR(work.put_number(state_key::kClean, 0));
    WEIR_RETURN_IF_ERROR(work.put_number(state_key::kDeadLetterMark, letters_->mark()));
    return reserve_batches(work, next_batch_.load());
  };
  WEIR_RETURN_IF_ERROR(in_transaction(begin));
  for (const auto& record : published_.all_lanes()) {
    if (record->holds) continue;
    log::warn("destination_not_configured",
              {{"destination", record->state.name},
               {"meaning", "its position is kept, but it no longer holds back deletion"}});
  }
  log::info("state_opened", {{"origin", origin_name(origin_)},
                             {"store_id", identity_.id.text()},
                             {"clean_stop", was_clean_},
                             {"lanes", published_.all_lanes().size()}});
  {
    std::lock_guard lock(mutex_);
    running_ = true;
  }
  thread_ = std::thread([this] { run(); });
  copy_thread_ = std::thread([this] { copy_loop(); });
  return {};
}

void StateImpl::stop(bool clean) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  changed_.notify_all();
  wakeup_.notify();
  if (copy_thread_.joinable()) copy_thread_.join();
  if (thread_.joinable()) thread_.join();
  if (running_ && clean && failure()) {
    auto noted =
        in_transaction([&](StateWork& work) { return work.put_number(state_key::kClean, 1); });
    if (!noted) log::warn("clean_stop_not_noted", {{"error", noted.error().message}});
    auto copied = write_copy();
    if (!copied) log::warn("state_copy_failed", {{"error", copied.error().message}});
  }
  std::lock_guard copy_lock(copy_mutex_);
  std::lock_guard lock(mutex_);
  running_ = false;
  stopped_.store(true, std::memory_order_seq_cst);
  std::lock_guard clients_lock(clients_mutex_);
  for (LaneClientImpl* client : clients_) client->wakeup_.notify();
  file_.close();
}

Status StateImpl::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

// ---------------------------------------------------------------- reading

Result<LaneState> StateImpl::lane(std::string_view name) const {
  const auto record = published_.lane(name);
  if (record == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", name);
  return record->state;
}

std::vector<LaneState> StateImpl::lanes() const {
  std::vector<LaneState> lanes;
  for (const auto& record : published_.all_lanes()) lanes.push_back(record->state);
  return lanes;
}

ShardPast StateImpl::past(unsigned shard) const {
  std::lock_guard lock(published_.mutex);
  return published_.past.at(shard);
}

// Time during which this process did not run does not count: its owner could not have been active.
bool StateImpl::is_idle(const LaneRecord& record) const {
  const int64_t max_idle_ms = record.options.max_idle_ms;
  if (max_idle_ms == 0 || record.state.active_ms == 0) return false;
  const int64_t up_ms = (clock_.monotonic_ns() - started_ns_) / 1'000'000;
  return up_ms > std::min(max_idle_ms, kIdleGraceMs) &&
         clock_.wall_ms() - record.state.active_ms > max_idle_ms;
}

std::vector<RetentionLane> StateImpl::retention_lanes() const {
  std::vector<RetentionLane> lanes;
  for (const auto& record : published_.all_lanes()) {
    if (!record->holds) continue;
    RetentionLane lane;
    lane.options = record->options;
    lane.idle = is_idle(*record);
    for (const LaneShard& shard : record->state.shards) {
      lane.low.push_back(shard.low());
      lane.backlog.push_back(shard.backlog_low());
    }
    lanes.push_back(std::move(lane));
  }
  return lanes;
}

Result<std::vector<ExpiredRange>> StateImpl::expired(std::string_view lane) const {
  const auto record = published_.lane(lane);
  if (record == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", lane);
  std::vector<ExpiredRange> ranges;
  for (const auto& [key, range] : record->expired) ranges.push_back(range);
  return ranges;
}

Result<std::vector<DeliveryRow>> StateImpl::deliveries(std::string_view lane,
                                                       Position position) const {
  const auto record = published_.lane(lane);
  if (record == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", lane);
  std::lock_guard lock(mutex_);  // stop() closes the file
  if (stopped_) return fail(ErrorCode::kUnavailable, "the store has stopped");
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::read(file_));
  // Rows overlap only after replays and splits, so the ones that cover a position are near it.
  constexpr size_t kRowsLookedAt = 20'000;
  const std::string below = state_key::delivery(record->id, position.shard, position.number + 1, 0);
  std::vector<DeliveryRow> rows;
  size_t looked_at = 0;
  WEIR_RETURN_IF_ERROR(txn.scan_back(below, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(std::string_view(below).substr(0, 7))) return false;
    const auto row = decode_delivery(key, value);
    if (row && row->last >= position.number) rows.push_back(*row);
    return ++looked_at < kRowsLookedAt;
  }));
  std::reverse(rows.begin(), rows.end());
  return rows;
}

StateSnapshot StateImpl::snapshot() const {
  StateSnapshot snapshot;
  std::vector<std::shared_ptr<const LaneRecord>> records;
  std::lock_guard decided_lock(decided_mutex_);
  {
    std::lock_guard lock(published_.mutex);
    snapshot.past = published_.past;
    for (const auto& [name, record] : published_.lanes)
      if (record->holds) records.push_back(record);
    snapshot.failed = letters_->failed();
  }
  for (const auto& record : records) {
    snapshot.lanes.push_back(record->state);
    auto& ranges = snapshot.expired[record->state.name];
    for (const auto& [key, range] : record->expired) ranges.push_back(range);
  }
  return snapshot;
}

// ---------------------------------------------------------------- the copy

Status StateImpl::write_copy() {
  std::lock_guard lock(copy_mutex_);
  if (stopped_) return fail(ErrorCode::kUnavailable, "the store has stopped");
  const uint64_t at = commits_.load(std::memory_order_relaxed);
  WEIR_RETURN_IF_ERROR(write_state_copy(file_, options_.directory));
  copied_at_commit_ = at;
  return {};
}

void StateImpl::copy_loop() {
  std::unique_lock lock(mutex_);
  bool told = false;
  for (;;) {
    lock.unlock();
    bool changed = false;
    {
      std::lock_guard copy_lock(copy_mutex_);
      changed = commits_.load(std::memory_order_relaxed) != copied_at_commit_;
    }
    if (changed) {
      auto copied = write_copy();
      if (!copied && !told) log::warn("state_copy_failed", {{"error", copied.error().message}});
      told = !copied;
    }
    lock.lock();
    if (stopping_) return;
    changed_.wait_for(lock, std::chrono::milliseconds(kCopyIntervalMs), [&] { return stopping_; });
  }
}

StoreIdentity StoreIdentity::generate(unsigned shards) {
  StoreIdentity identity;
  identity.id = StoreId::generate();
  fill_random(identity.secret.bytes, DedupeSecret::kSize);
  identity.shards = static_cast<uint16_t>(shards);
  return identity;
}

Result<std::unique_ptr<State>> State::open(const StoreOptions& options, const Clock& clock,
                                           MetricRegistry& metrics,
                                           const RecoverIdentity& recover_identity) {
  if (options.shards == 0 || options.shards > kMaxShards)
    return fail(ErrorCode::kInvalidArgument, "store.shards is {}; it can be 1 to {}",
                options.shards, kMaxShards);
  WEIR_ASSIGN_OR_RETURN(auto opened, open_state_file(options, clock, metrics, recover_identity));
  auto state = std::make_unique<StateImpl>(std::move(opened), options, clock, metrics);
  WEIR_RETURN_IF_ERROR(state->open_dead_letters());
  return std::unique_ptr<State>(std::move(state));
}

int64_t oldest_pending_ms(const LaneState& lane, const LogView& log) {
  int64_t oldest = 0;
  for (unsigned shard = 0; shard < lane.shards.size() && shard < log.shards(); ++shard) {
    const uint64_t low = lane.shards[shard].low();
    const uint64_t ended = lane.shards[shard].ended;
    if (low >= log.end(shard) || (ended != 0 && low >= ended)) continue;
    const int64_t received = log.received_ms(shard, low);
    if (received > 0 && (oldest == 0 || received < oldest)) oldest = received;
  }
  return oldest;
}

StateInspection inspect_state(const std::string& path) {
  StateInspection result;
  const size_t slash = path.find_last_of('/');
  auto image = read_state_file(
      path, directory_in_use(slash == std::string::npos ? "." : path.substr(0, slash)));
  if (!image) {
    result.problems.push_back(image.error().message);
    return result;
  }
  result.identity = image->identity;
  result.past = image->past;
  for (auto& [id, lane] : image->lanes) result.lanes.push_back(std::move(lane.state));
  result.delivery_rows = image->delivery_rows;
  return result;
}

}  // namespace weir::storage
