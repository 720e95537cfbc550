// What happens on the state thread: updates of lanes are taken together, written in one transaction
// and handed back; operations of other threads run between them. See state.h.
#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/disk.h"
#include "storage/state_impl.h"

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
constexpr uint64_t kFillBytes = 1 << 20;  // at a time, and then a pause
constexpr int64_t kFillPauseNs = 5'000'000;
constexpr uint64_t kRowBytes = 128;  // one delivery row with its share of the tree

// Where the ranges of an update begin now; see LaneUpdate::put.
void tell_firsts(const LaneState& lane, LaneUpdate* update) {
  for (OpenRange& range : update->put) {
    const LaneShard& shard = lane.shards[range.shard];
    const auto kept = shard.open.find(range.number);
    range.first =
        kept != shard.open.end() ? kept->second.first : std::max(range.last + 1, shard.frontier);
  }
}

}  // namespace

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
    const bool filling = !stopping && fill_ahead();
    if (!stopping) wakeup_.wait(filling ? kFillPauseNs : -1);
  }
}

// Writes the next piece of zeros behind everything LMDB uses. True while there is more to do. Only
// between transactions, by the one thread that writes.
bool StateImpl::fill_ahead() {
  const uint64_t size = file_.map_bytes();
  const uint64_t from = std::max(unfilled_from_, file_.used_bytes());
  if (from >= size) return false;
  const uint64_t to = std::min(size, from + kFillBytes);
  auto filled = write_zeros(file_.fd(), from, to);
  if (!filled) log::warn("state_not_filled", {{"error", filled.error().message}});
  unfilled_from_ = filled ? to : size;
  return unfilled_from_ < size;
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
    if (update->outcome) {
      tell_firsts(record->state, update);
      for (const ExpiredRange& range : update->expired)
        count_expired(update->lane, range.reason, range.events);
    }
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

bool StateImpl::wants_batches() const {
  return next_batch_.load() + kBatchBlock / 2 > reserved_batches_;
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

Status StateImpl::configure_lanes(const std::vector<LaneOptions>& lanes,
                                  const std::vector<uint64_t>& ends) {
  return run_on_thread([&](StateWork& work) { return configure(work, lanes, ends); });
}

Result<uint64_t> StateImpl::requeue_expired(std::string_view name,
                                            const std::vector<ExpiredRange>& ranges,
                                            const LogView& log) {
  uint64_t events = 0;
  const auto open = [&](StateWork& work) -> Status {
    events = 0;
    LaneRecord* lane = work.lane(name);
    if (lane == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", name);
    LaneUpdate opened;  // of so many ranges: the bound of open ones is checked as for any update
    opened.put.resize(ranges.size());
    for (OpenRange& range : opened.put) range.number = range.first = range.last = 1;
    WEIR_RETURN_IF_ERROR(check_update(*lane, opened));
    for (const ExpiredRange& range : ranges) {
      const uint64_t number = next_batch_.fetch_add(1, std::memory_order_relaxed);
      WEIR_RETURN_IF_ERROR(
          apply_requeue(work, *lane, range, number, log, clock_.wall_ms(), &events));
      if (number >= reserved_batches_) WEIR_RETURN_IF_ERROR(reserve_batches(work, number + 1));
    }
    return {};
  };
  WEIR_RETURN_IF_ERROR(run_on_thread(open));
  return events;
}

Result<Replayed> StateImpl::replay(std::string_view name, const std::vector<ReplayRange>& ranges,
                                   const LogView& log) {
  Replayed replayed;
  const auto open = [&](StateWork& work) -> Status {
    replayed = {};
    LaneRecord* lane = work.lane(name);
    if (lane == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", name);
    LaneUpdate opened;
    for (const ReplayRange& range : ranges)
      WEIR_RETURN_IF_ERROR(
          plan_replay(work, *lane, range, log, *letters_, clock_.wall_ms(), &opened, &replayed));
    for (OpenRange& range : opened.put)
      range.number = next_batch_.fetch_add(1, std::memory_order_relaxed);
    WEIR_RETURN_IF_ERROR(check_update(*lane, opened));
    for (const OpenRange& range : opened.put) {
      WEIR_RETURN_IF_ERROR(reopen_given_up(work, *lane, range, log));
      if (range.number >= reserved_batches_)
        WEIR_RETURN_IF_ERROR(reserve_batches(work, range.number + 1));
    }
    apply_update(*lane, opened, &work.delta(*lane));
    return {};
  };
  WEIR_RETURN_IF_ERROR(run_on_thread(open));
  return replayed;
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

}  // namespace weir::storage
