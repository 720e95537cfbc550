#include "storage/state.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/base/mailbox.h"
#include "storage/base/wakeup.h"
#include "storage/dead_letters.h"
#include "storage/disk.h"
#include "storage/state_file.h"
#include "storage/state_work.h"

namespace weir::storage {
namespace {

#ifdef WEIR_TINY_LIMITS
constexpr uint64_t kBatchBlock = 4;  // batch numbers reserved at once
constexpr size_t kUpdatesPerCommit = 4;
constexpr uint64_t kMaxDeliveryRows = 64;
#else
constexpr uint64_t kBatchBlock = 4'096;
constexpr size_t kUpdatesPerCommit = 1'024;
constexpr uint64_t kMaxDeliveryRows = 200'000;
#endif
constexpr uint64_t kRowBytes = 128;  // one delivery row with its share of the tree
constexpr int64_t kCopyIntervalMs = 60'000;

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

class StateImpl;

class LaneClientImpl final : public LaneClient {
 public:
  LaneClientImpl(StateImpl& state, Wakeup& wakeup) : state_(state), wakeup_(wakeup) {}
  ~LaneClientImpl() override;
  void submit(LaneUpdate& update) override;
  LaneUpdate* take_outcomes() override;

 private:
  friend class StateImpl;
  StateImpl& state_;
  Wakeup& wakeup_;
  Mailbox<LaneUpdate> submitted_;
  Mailbox<LaneUpdate> outcomes_;
  std::atomic<int64_t> lent_{0};
};

class StateImpl final : public State {
 public:
  StateImpl(OpenedState opened, const StoreOptions& options, const Clock& clock,
            MetricRegistry& metrics);
  ~StateImpl() override { stop(); }

  Status open_dead_letters();

  const StoreIdentity& identity() const override { return identity_; }
  StateOrigin origin() const override { return origin_; }
  bool was_clean_stop() const override { return was_clean_; }
  Status start(const std::vector<LaneOptions>& lanes, const std::vector<uint64_t>& ends) override;
  void stop(bool clean) override;
  using State::stop;
  Status failure() const override;

  Result<LaneState> lane(std::string_view name) const override;
  std::vector<LaneState> lanes() const override;
  std::unique_ptr<LaneClient> make_lane_client(Wakeup& wakeup) override;
  Status create_lane(const LaneOptions& lane, const std::vector<uint64_t>& ends) override;
  Status delete_lane(std::string_view name) override;
  uint64_t next_batch_number() override;
  Result<std::vector<DeliveryRow>> deliveries(std::string_view lane,
                                              Position position) const override;
  Result<std::vector<ExpiredRange>> expired(std::string_view lane) const override;
  DeadLetters& dead_letters() override { return *letters_; }
  const DeadLetters& dead_letters() const override { return *letters_; }

  ShardPast past(unsigned shard) const override;
  std::vector<RetentionLane> retention_lanes() const override;
  Status expire(const std::vector<Expiry>& expiries, const LogView& log) override;
  Status trim(const SegmentTrim& trim, const LogView& log) override;
  StateSnapshot snapshot() const override;
  Status write_copy() override;

 private:
  friend class LaneClientImpl;
  using Operation = std::function<Status(StateWork&)>;
  struct Task {
    const Operation* operation = nullptr;
    Status outcome;
    bool done = false;
  };

  // ---- state thread (or the opening one, before it runs)
  void run();
  bool serve_clients();
  void serve_tasks();
  std::vector<LaneUpdate*> take_batch(std::deque<LaneUpdate*>& waiting);
  void apply_batch(const std::vector<LaneUpdate*>& batch);
  Status commit_updates(const std::vector<LaneUpdate*>& batch);
  Status commit_update_with_letters(LaneUpdate& update);
  Status in_transaction(const Operation& operation);
  Status attempt(const Operation& operation);
  Status classify(Error error);
  Status shed_deliveries();
  Status reserve_batches(StateWork& work, uint64_t at_least);
  bool wants_batches() const { return next_batch_.load() + kBatchBlock / 2 > reserved_batches_; }
  uint64_t max_rows(size_t lanes) const;
  void hand_back(LaneUpdate* update, Status outcome);
  Status add_configured_lane(StateWork& work, const LaneOptions& lane,
                             const std::vector<uint64_t>& ends);

  // ---- any thread
  Status run_on_thread(const Operation& operation);
  void count_expired(const std::string& lane, const std::string& reason, uint64_t events);
  void copy_loop();

  StoreOptions options_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  StoreIdentity identity_;
  StateOrigin origin_;
  bool was_clean_;
  LmdbFile file_;
  PublishedState published_;
  std::unique_ptr<DeadLetters> letters_;

  // State thread.
  DeliveryCounts delivery_counts_;
  uint64_t dead_letter_mark_;
  uint64_t reserved_batches_;
  uint32_t next_lane_id_ = 1;
  std::map<LaneUpdate*, LaneClientImpl*> owners_;
  Histogram& commit_seconds_;

  std::atomic<uint64_t> next_batch_;
  std::atomic<uint64_t> commits_{0};
  uint64_t copied_at_commit_ = 0;

  Wakeup wakeup_;
  std::mutex clients_mutex_;
  std::vector<LaneClientImpl*> clients_;

  mutable std::mutex mutex_;  // what follows
  std::condition_variable changed_;
  std::deque<Task*> tasks_;
  Status failure_;
  bool running_ = false;
  bool stopping_ = false;
  std::atomic<bool> stopped_{false};
  std::mutex copy_mutex_;             // one copy at a time
  mutable std::mutex decided_mutex_;  // letters and the positions that belong to them change as one
  std::mutex expired_mutex_;
  std::map<std::pair<std::string, std::string>, Counter*> expired_counters_;

  std::thread thread_;
  std::thread copy_thread_;
};

// ---------------------------------------------------------------- lane clients

LaneClientImpl::~LaneClientImpl() {
  WEIR_CHECK(state_.stopped_ || lent_.load() == 0, "a lane client ends while {} updates are lent",
             lent_.load());
  std::lock_guard lock(state_.clients_mutex_);
  std::erase(state_.clients_, this);
}

void LaneClientImpl::submit(LaneUpdate& update) {
  lent_.fetch_add(1, std::memory_order_relaxed);
  submitted_.push(&update);
  if (state_.stopped_.load(std::memory_order_seq_cst))
    wakeup_.notify();  // take_outcomes() answers it
  else
    state_.wakeup_.notify();
}

LaneUpdate* LaneClientImpl::take_outcomes() {
  if (state_.stopped_.load(std::memory_order_seq_cst)) {
    // Nobody else looks any more.
    for (LaneUpdate* update = submitted_.take_all(); update != nullptr;) {
      LaneUpdate* next = update->next;
      update->outcome = fail(ErrorCode::kUnavailable, "the store has stopped");
      outcomes_.push(update);
      update = next;
    }
  }
  LaneUpdate* first = outcomes_.take_all();
  int64_t count = 0;
  for (LaneUpdate* update = first; update != nullptr; update = update->next) ++count;
  lent_.fetch_sub(count, std::memory_order_relaxed);
  return first;
}

std::unique_ptr<LaneClient> StateImpl::make_lane_client(Wakeup& wakeup) {
  auto client = std::make_unique<LaneClientImpl>(*this, wakeup);
  std::lock_guard lock(clients_mutex_);
  clients_.push_back(client.get());
  return client;
}

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
  if (record == nullptr)
    return work.add_lane(make_lane(next_lane_id_++, options, identity_.shards, ends));
  if (record->state.kind != options.kind)
    return fail(ErrorCode::kAlreadyExists,
                "{} is a {} in this data directory and cannot become the other; choose another "
                "name, or delete it first",
                options.name,
                record->state.kind == LaneKind::kConsumer ? "consumer" : "destination");
  record->options = options;
  record->holds = true;
  return {};
}

Status StateImpl::start(const std::vector<LaneOptions>& lanes, const std::vector<uint64_t>& ends) {
  WEIR_CHECK(!running_ && !stopped_, "State::start called twice");
  const auto configure = [&](StateWork& work) -> Status {
    for (const LaneOptions& lane : lanes)
      WEIR_RETURN_IF_ERROR(add_configured_lane(work, lane, ends));
    WEIR_RETURN_IF_ERROR(work.put_number(state_key::kClean, 0));
    WEIR_RETURN_IF_ERROR(work.put_number(state_key::kDeadLetterMark, letters_->mark()));
    return reserve_batches(work, next_batch_.load());
  };
  WEIR_RETURN_IF_ERROR(in_transaction(configure));
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

// ---------------------------------------------------------------- the thread

void StateImpl::run() {
  for (;;) {
    bool stopping = false;
    {
      std::lock_guard lock(mutex_);
      stopping = stopping_;
    }
    serve_tasks();
    const bool worked = serve_clients();
    if (wants_batches() && failure()) {
      auto reserved = in_transaction(
          [&](StateWork& work) { return reserve_batches(work, next_batch_.load()); });
      if (!reserved) log::warn("batch_numbers_not_reserved", {{"error", reserved.error().message}});
    }
    if (stopping && !worked) return;
    if (!stopping) wakeup_.wait(-1);
  }
}

// Applies what every client has submitted. False when nobody had anything.
bool StateImpl::serve_clients() {
  std::deque<LaneUpdate*> waiting;
  {
    std::lock_guard lock(clients_mutex_);  // a client may end while nothing of it is lent
    for (LaneClientImpl* client : clients_) {
      for (LaneUpdate* update = client->submitted_.take_all(); update != nullptr;) {
        LaneUpdate* next = update->next;
        owners_[update] = client;
        waiting.push_back(update);
        update = next;
      }
    }
  }
  if (waiting.empty()) return false;
  while (!waiting.empty()) apply_batch(take_batch(waiting));
  return true;
}

// As many as fit one transaction. An update with dead letters goes alone: its letters must be
// durable first and are taken back if it fails.
std::vector<LaneUpdate*> StateImpl::take_batch(std::deque<LaneUpdate*>& waiting) {
  std::vector<LaneUpdate*> batch;
  while (!waiting.empty() && batch.size() < kUpdatesPerCommit) {
    LaneUpdate* update = waiting.front();
    const bool alone = !update->dead_letters.empty() || !update->dead_letter_changes.empty();
    if (alone && !batch.empty()) break;
    waiting.pop_front();
    batch.push_back(update);
    if (alone) break;
  }
  return batch;
}

void StateImpl::hand_back(LaneUpdate* update, Status outcome) {
  update->outcome = std::move(outcome);
  update->floors.clear();
  if (const auto record = published_.lane(update->lane)) {
    for (size_t shard = 0; shard < record->state.shards.size(); ++shard)
      if (const uint64_t floor = record->state.shards[shard].floor; floor > 1)
        update->floors.emplace_back(static_cast<uint16_t>(shard), floor);
    if (update->outcome)
      for (const ExpiredRange& range : update->expired)
        count_expired(update->lane, range.reason, range.events);
  }
  auto owner = owners_.extract(update);
  // Its owner may end the client as soon as it has the update: not before it was notified.
  std::lock_guard lock(clients_mutex_);
  owner.mapped()->outcomes_.push(update);
  owner.mapped()->wakeup_.notify();
}

void StateImpl::apply_batch(const std::vector<LaneUpdate*>& batch) {
  LaneUpdate& first = *batch.front();
  if (!first.dead_letters.empty() || !first.dead_letter_changes.empty()) {
    hand_back(&first, commit_update_with_letters(first));
    return;
  }
  const Status committed = commit_updates(batch);
  if (!committed && batch.size() > 1 && committed.error().os_errno == kLmdbMapFull) {
    // Together they did not fit; alone some may.
    for (LaneUpdate* update : batch) hand_back(update, commit_updates({update}));
    return;
  }
  for (LaneUpdate* update : batch) {
    // commit_updates() has set the outcome of those that made no sense.
    if (!committed) update->outcome = committed;
    hand_back(update, std::move(update->outcome));
  }
}

// One transaction. An update that makes no sense gets its own outcome and holds nobody back.
Status StateImpl::commit_updates(const std::vector<LaneUpdate*>& batch) {
  return in_transaction([&](StateWork& work) -> Status {
    for (LaneUpdate* update : batch) {
      LaneRecord* lane = work.lane(update->lane);
      if (lane == nullptr) {
        update->outcome = fail(ErrorCode::kNotFound, "there is no lane {}", update->lane);
        continue;
      }
      update->outcome = check_update(*lane, *update);
      if (!update->outcome) continue;
      WEIR_RETURN_IF_ERROR(apply_lane_update(work, *lane, *update, nullptr, *letters_,
                                             clock_.wall_ms(), max_rows(published_.lanes.size())));
      for (const OpenRange& range : update->put)
        if (range.number >= reserved_batches_)
          WEIR_RETURN_IF_ERROR(reserve_batches(work, range.number + 1));
    }
    return {};
  });
}

Status StateImpl::commit_update_with_letters(LaneUpdate& update) {
  WEIR_RETURN_IF_ERROR(failure());
  const auto record = published_.lane(update.lane);
  if (record == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", update.lane);
  WEIR_RETURN_IF_ERROR(check_update(*record, update));
  WEIR_ASSIGN_OR_RETURN(const DeadLetters::Effect effect, letters_->append(update));
  std::lock_guard decided_lock(decided_mutex_);
  auto committed = in_transaction([&](StateWork& work) -> Status {
    WEIR_RETURN_IF_ERROR(apply_lane_update(work, *work.lane(update.lane), update, &effect,
                                           *letters_, clock_.wall_ms(),
                                           max_rows(published_.lanes.size())));
    for (const OpenRange& range : update.put)
      if (range.number >= reserved_batches_)
        WEIR_RETURN_IF_ERROR(reserve_batches(work, range.number + 1));
    return {};
  });
  if (committed)
    letters_->confirm();
  else
    letters_->rollback();
  return committed;
}

// ---------------------------------------------------------------- transactions

Status StateImpl::attempt(const Operation& operation) {
  WEIR_ASSIGN_OR_RETURN(auto work, StateWork::begin(file_, published_, delivery_counts_));
  WEIR_RETURN_IF_ERROR(operation(work));
  const int64_t started = clock_.monotonic_ns();
  WEIR_RETURN_IF_ERROR(work.commit(&delivery_counts_));
  commit_seconds_.record(static_cast<uint64_t>(clock_.monotonic_ns() - started));
  commits_.fetch_add(1, std::memory_order_relaxed);
  return {};
}

// An operation may run more than once: it must not change anything outside its StateWork, except
// what it sets anew each time.
Status StateImpl::in_transaction(const Operation& operation) {
  WEIR_RETURN_IF_ERROR(failure());
  const uint64_t reserved = reserved_batches_;
  const uint32_t next_lane = next_lane_id_;
  const auto undo = [&] {
    reserved_batches_ = reserved;
    next_lane_id_ = next_lane;
  };
  auto outcome = attempt(operation);
  if (outcome) return outcome;
  undo();
  if (outcome.error().os_errno == kLmdbMapFull && shed_deliveries()) {
    outcome = attempt(operation);
    if (outcome) return outcome;
    undo();
  }
  return classify(std::move(outcome).error());
}

// The ledger of finished batches is the one thing that may go for want of space.
Status StateImpl::shed_deliveries() {
  uint64_t rows = 0;
  for (const auto& [key, count] : delivery_counts_) rows += count;
  if (rows == 0) return fail(ErrorCode::kNoSpace, "there are no delivery rows to remove");
  log::warn("delivery_rows_shed", {{"rows", rows}, {"reason", "state_bytes is used up"}});
  return attempt([&](StateWork& work) { return work.shed_deliveries(25); });
}

Status StateImpl::classify(Error error) {
  if (error.os_errno == kLmdbMapFull) {
    error.message = fmt::format(
        "{} is full: store.state_bytes is {}; raise it and restart (open batches, lanes, tenants "
        "and expired ranges are kept there)",
        file_.path(), options_.state_bytes);
    error.code = ErrorCode::kNoSpace;
    return tl::unexpected(std::move(error));
  }
  const bool from_disk = error.os_errno != 0;
  if (!from_disk) return tl::unexpected(std::move(error));  // the operation's own answer
  const auto free = disk_free_bytes(options_.directory);
  if (error.code == ErrorCode::kNoSpace || (error.os_errno == EIO && free && *free == 0)) {
    error.code = ErrorCode::kNoSpace;
    error.message += "; the file system is full and does not overwrite in place";
    return tl::unexpected(std::move(error));
  }
  // What is on disk now nobody knows, and a later success would not change that: the first failed
  // sync is final.
  error.code = ErrorCode::kIo;
  error.message += "; positions cannot be stored until Weir is restarted";
  log::error("state_latched", {{"error", error.message}});
  std::lock_guard lock(mutex_);
  failure_ = tl::unexpected(error);
  return failure_;
}

Status StateImpl::reserve_batches(StateWork& work, uint64_t at_least) {
  const uint64_t wanted = std::max(at_least, next_batch_.load()) + kBatchBlock;
  if (wanted <= reserved_batches_) return {};
  reserved_batches_ = wanted;
  return work.put_number(state_key::kBatch, wanted);
}

uint64_t StateImpl::max_rows(size_t lanes) const {
  const uint64_t rows = std::min(kMaxDeliveryRows, options_.state_bytes / 4 / kRowBytes);
  return std::max<uint64_t>(16, rows / std::max<size_t>(1, lanes) / identity_.shards);
}

uint64_t StateImpl::next_batch_number() {
  // A number matters from the commit of the range that carries it, and that commit reserves it if
  // the block ahead was not reserved yet. So nobody waits here.
  const uint64_t number = next_batch_.fetch_add(1, std::memory_order_relaxed);
  if (number % (kBatchBlock / 2) == 0) wakeup_.notify();
  return number;
}

// ---------------------------------------------------------------- operations of other threads

void StateImpl::serve_tasks() {
  for (;;) {
    Task* task = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (tasks_.empty()) return;
      task = tasks_.front();
      tasks_.pop_front();
    }
    Status outcome = in_transaction(*task->operation);
    std::lock_guard lock(mutex_);
    task->outcome = std::move(outcome);
    task->done = true;
    changed_.notify_all();
  }
}

Status StateImpl::run_on_thread(const Operation& operation) {
  Task task;
  task.operation = &operation;
  std::unique_lock lock(mutex_);
  if (!running_ || stopping_) return fail(ErrorCode::kUnavailable, "the store has stopped");
  tasks_.push_back(&task);
  wakeup_.notify();
  changed_.wait(lock, [&] { return task.done; });
  return std::move(task.outcome);
}

void StateImpl::count_expired(const std::string& lane, const std::string& reason, uint64_t events) {
  std::lock_guard lock(expired_mutex_);
  Counter*& counter = expired_counters_[{lane, reason}];
  if (counter == nullptr) counter = &metrics_.counter(Metric::kEventsExpired, {lane, reason});
  counter->add(events);
}

Status StateImpl::create_lane(const LaneOptions& lane, const std::vector<uint64_t>& ends) {
  return run_on_thread([&](StateWork& work) -> Status {
    if (work.lane(lane.name) != nullptr)
      return fail(ErrorCode::kAlreadyExists, "there is a lane {} already", lane.name);
    return add_configured_lane(work, lane, ends);
  });
}

Status StateImpl::delete_lane(std::string_view name) {
  return run_on_thread([&](StateWork& work) { return work.remove_lane(name); });
}

Status StateImpl::expire(const std::vector<Expiry>& expiries, const LogView& log) {
  if (expiries.empty()) return {};
  std::vector<uint64_t> events(expiries.size());
  const auto apply = [&](StateWork& work) -> Status {
    for (size_t i = 0; i < expiries.size(); ++i)
      WEIR_RETURN_IF_ERROR(apply_expiry(work, expiries[i], log, clock_.wall_ms(), &events[i]));
    return {};
  };
  WEIR_RETURN_IF_ERROR(run_on_thread(apply));
  for (size_t i = 0; i < expiries.size(); ++i) {
    const Expiry& expiry = expiries[i];
    count_expired(expiry.lane, std::string(expiry.reason), events[i]);
    log::warn("events_expired", {{"lane", expiry.lane},
                                 {"reason", expiry.reason},
                                 {"shard", expiry.shard},
                                 {"through", expiry.last},
                                 {"events", events[i]}});
  }
  return {};
}

Status StateImpl::trim(const SegmentTrim& trim, const LogView& log) {
  return run_on_thread([&](StateWork& work) { return apply_trim(work, trim, log, *letters_); });
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

std::vector<RetentionLane> StateImpl::retention_lanes() const {
  std::vector<RetentionLane> lanes;
  for (const auto& record : published_.all_lanes()) {
    if (!record->holds) continue;
    RetentionLane lane;
    lane.options = record->options;
    for (const LaneShard& shard : record->state.shards) lane.low.push_back(shard.low());
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

}  // namespace

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
    if (low >= log.end(shard)) continue;
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
