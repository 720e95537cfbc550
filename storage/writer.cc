#include "storage/writer.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/log.h"
#include "storage/disk.h"
#include "storage/file_names.h"

namespace weir::storage {
namespace {

#ifdef WEIR_TINY_LIMITS
constexpr uint64_t kSmallRequestEvents = 2;
constexpr uint64_t kMostGroupEvents = 8;
constexpr uint64_t kMostSegmentBytes = uint64_t{1} << 20;
#else
constexpr uint64_t kSmallRequestEvents = 64;  // larger ones count as bulk
constexpr uint64_t kMostGroupEvents = UINT64_MAX;
constexpr uint64_t kMostSegmentBytes = UINT64_MAX;
#endif
// While small requests come, bulk gets this part of its share: a commit of some 250 events.
constexpr uint64_t kQuickParts = 16;
constexpr size_t kLookahead = 12;        // entries whose index slots are fetched ahead
constexpr size_t kPayloadLookahead = 3;  // entries whose bytes are fetched ahead
// Used of a segment that was not filled before its successor is made: traffic to speak of.
constexpr uint64_t kTrafficShare = 32;
constexpr uint64_t kTrafficBytes = uint64_t{8} << 20;
constexpr int64_t kFillWakeNs = 10'000'000;  // at most so often; what is due then goes in one piece
constexpr int64_t kIdleWaitNs = 1'000'000'000;
constexpr int64_t kHouseIntervalNs = 1'000'000'000;
constexpr uint64_t kDiskFullMargin = uint64_t{1} << 20;

std::string shard_label(unsigned shard) { return std::to_string(shard); }

}  // namespace

WriterLimits WriterLimits::from(const StoreOptions& options) {
  WriterLimits limits;
  limits.segment_bytes =
      std::clamp<uint64_t>(options.segment_bytes, uint64_t{512} << 10, kMostSegmentBytes);
  limits.segment_age_ms = options.segment_age_ms;
  // A group with its tree and its commit block must fit into an empty segment with room to spare.
  limits.entry_bytes = limits.segment_bytes / 4;
  limits.group_bytes =
      std::clamp<uint64_t>(options.commit_max_bytes, 4096, limits.segment_bytes / 4);
  limits.group_events = std::clamp<uint64_t>(
      options.commit_max_events, 1, std::min(limits.segment_bytes / 1024, kMostGroupEvents));
  // A bulk share that commits in about 2 ms keeps small requests quick.
  limits.bulk_events = std::max<uint64_t>(limits.group_events / 4, 1);
  limits.bulk_bytes = std::max<uint64_t>(limits.group_bytes / 4, 1);
  return limits;
}

Writer::Writer(unsigned shard, const WriterLimits& limits, const SegmentHeader& identity,
               const std::string& directory, const Clock& clock, MetricRegistry& metrics,
               SegmentSet& set, Admission& admission, AppendQueue& queue, WriterEvents& events,
               std::unique_ptr<DedupeIndex> index)
    : shard_(shard),
      limits_(limits),
      identity_(identity),
      directory_(directory),
      clock_(clock),
      set_(set),
      admission_(admission),
      queue_(queue),
      events_(events),
      index_(std::move(index)),
      successor_(directory, shard, limits.segment_bytes),
      next_(set.committed_end()),
      waiting_(metrics.gauge(Metric::kAppendQueue, {shard_label(shard)})),
      commit_seconds_(metrics.histogram(Metric::kCommitSeconds, {shard_label(shard)})),
      sync_seconds_(metrics.histogram(Metric::kSyncSeconds, {shard_label(shard)})),
      commit_events_(metrics.histogram(Metric::kCommitEvents, {shard_label(shard)})),
      commit_bytes_(metrics.histogram(Metric::kCommitBytes, {shard_label(shard)})),
      evicted_window_(metrics.counter(Metric::kDedupeEvicted, {shard_label(shard), "window"})),
      evicted_cap_(metrics.counter(Metric::kDedupeEvicted, {shard_label(shard), "cap"})),
      refusals_(make_refusal_counters(metrics)) {
  group_.items.reserve(limits.group_events + limits.bulk_events);
}

Writer::~Writer() { stop(); }

Status Writer::start() {
  if (auto rolled = roll(); !rolled && judge(rolled.error(), false) != Refusal::kDiskFull)
    return tl::unexpected(std::move(rolled).error());
  keep_house(clock_.wall_ms());
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), fmt::format("weir-writer-{}", shard_).c_str());
    // Woken by a reactor it shares a core with, it lets the reactor finish its turns first: fuller
    // groups, fewer commits. Where a core is free it starts at once all the same.
    const sched_param normal{};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &normal);
    run();
  });
  return {};
}

void Writer::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  wakeup_.notify();
  thread_.join();
}

void Writer::submit(AppendRequest::Part* first, AppendRequest::Part* last) {
  if (mailbox_.push_chain(first, last)) wakeup_.notify();
  // The writer closed before it looked here for the last time, or it sees these parts.
  if (closed_.fetch_add(0, std::memory_order_acq_rel) != 0) refuse_leftovers();
}

void Writer::forget_originals(uint64_t first, uint64_t last) {
  const std::lock_guard lock(lost_mutex_);
  lost_.emplace_back(first, last);
  has_lost_.store(true, std::memory_order_release);
}

// ---- the loop

void Writer::run() {
  for (;;) {
    take_new();
    if (small_.empty() && large_.empty()) {
      if (stopping_.load(std::memory_order_acquire) && mailbox_.empty()) break;
      const int64_t now = clock_.monotonic_ns();
      if (now - kept_house_ns_ >= kHouseIntervalNs) keep_house(clock_.wall_ms());
      roll_by_age();
      if (admission_.has(Refusal::kQueueFull)) admission_.clear(Refusal::kQueueFull);
      wakeup_.wait(kIdleWaitNs);
      continue;
    }
    if (admission_.has(Refusal::kSyncFailed)) {
      refuse_waiting(Refusal::kSyncFailed);
      continue;
    }
    run_group();
  }
  closed_.exchange(1, std::memory_order_acq_rel);
  refuse_leftovers();
}

// One commit from beginning to end.
void Writer::run_group() {
  group_.clear();
  group_.began_ns = clock_.monotonic_ns();
  if (has_lost_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(lost_mutex_);
    for (const auto& [first, last] : lost_) index_->lose(first, last);
    lost_.clear();
    has_lost_.store(false, std::memory_order_relaxed);
  }
  roll_by_age();
  roll_to_filled();
  choose_group();
  waiting_.set(static_cast<int64_t>(small_.size() + large_.size()));
  dedupe_group();
  store_group();
  deliver_answers();
  const int64_t now = clock_.monotonic_ns();
  if (now - kept_house_ns_ >= kHouseIntervalNs) keep_house(clock_.wall_ms());
}

void Writer::take_new() {
  AppendRequest::Part* part = mailbox_.take_all();
  while (part != nullptr) {
    AppendRequest::Part* next = part->next;
    (part->request->entries.size() <= kSmallRequestEvents ? small_ : large_).push(part);
    part = next;
  }
}

// ---- choosing

void Writer::choose_group() {
  fill_from(small_, limits_.group_events, limits_.group_bytes);
  const bool small_before = std::exchange(small_in_group_, !group_.items.empty());
  if (large_.empty()) return;
  const uint64_t parts = small_in_group_ || small_before ? kQuickParts : 1;
  fill_from(large_, group_.items.size() + std::max<uint64_t>(limits_.bulk_events / parts, 1),
            group_.bytes + limits_.bulk_bytes / parts);
}

// Adds entries in order until the queue is empty or the group has max_events or max_bytes in all,
// but at least one.
void Writer::fill_from(PartQueue& queue, uint64_t max_events, uint64_t max_bytes) {
  const size_t before = group_.items.size();
  while (!queue.empty()) {
    AppendRequest::Part* part = queue.front();
    const std::span<AppendEntry> entries = part->request->entries;
    while (part->done_entries < entries.size()) {
      AppendEntry& entry = entries[part->done_entries];
      if (entry.shard != shard_) {
        ++part->done_entries;
        continue;
      }
      const uint64_t bytes = queue_cost(entry);
      const bool full = group_.items.size() >= max_events || group_.bytes + bytes > max_bytes;
      if (full && group_.items.size() > before) return;
      if (entry_too_large(entry)) break;
      group_.items.push_back({&entry, part->request->received_at_ms, 0});
      group_.bytes += bytes;
      ++part->done_entries;
    }
    queue.pop();
    // Answered with the group, not now: it may hold earlier entries of the request.
    const bool whole = part->done_entries == entries.size();
    group_.finished.push_back({part, whole ? Refusal::kNone : Refusal::kStoreFull});
    if (!whole) group_.dropped_bytes += waiting_bytes(*part);
  }
}

bool Writer::entry_too_large(const AppendEntry& entry) {
  if (queue_cost(entry) <= limits_.entry_bytes && entry.head.size() <= kMaxHeadBytes) return false;
  log::error("event_larger_than_segment",
             {{"bytes", queue_cost(entry)},
              {"limit", limits_.entry_bytes},
              {"hint", "raise store.segment_bytes to four times limits.event_bytes"}});
  return true;
}

// ---- dedupe

// Gives every new event its number; a duplicate gets that of its original. Insertions into the
// index are provisional until the commit returns: roll_back() takes them back.
void Writer::dedupe_group() {
  index_->advance(clock_.wall_ms());
  const size_t size = group_.items.size();
  uint64_t number = next_;
  group_.first = number;
  group_.plan.begin(group_.bytes);
  for (size_t i = 0; i < size; ++i) {
    if (i + kLookahead < size) index_->prefetch(group_.items[i + kLookahead].entry->fingerprint);
    GroupItem& item = group_.items[i];
    AppendEntry& entry = *item.entry;
    if (!entry.fingerprint.empty()) {
      const uint64_t original = index_->find_or_insert(entry.fingerprint, number);
      if (original != 0) {
        entry.number = original;
        continue;
      }
    }
    const size_t payload = entry.head.size() + entry.raw.size();
    item.number = number;
    entry.number = number++;
    group_.payload_bytes += payload;
    group_.plan.add(kEventHeaderSize + payload);
  }
  for (const ChunkSize& chunk : group_.plan.chunks())
    group_.cost += SegmentWriter::record_cost(chunk.bytes);
  group_.stored = number - next_;
  WEIR_CHECK(number < kMaxNumber);
}

void Writer::roll_back() {
  for (const GroupItem& item : group_.items)
    if (item.number != 0 && !item.entry->fingerprint.empty())
      index_->erase(item.entry->fingerprint);
}

// ---- append and commit

// Stores the group and answers its requests, with success or with a refusal.
bool Writer::store_group() {
  if (group_.stored == 0) {
    finish_group(nullptr);
    return true;
  }
  CommitBlock block;
  build_commit_block(&block);
  const uint64_t cost = group_.cost + SegmentWriter::record_cost(group_.block_bytes.size()) +
                        SegmentWriter::record_cost(kSegmentHeaderSize);
  if (active_ == nullptr || (!active_empty_ && !active_->fits(cost))) {
    if (auto rolled = roll(); !rolled) return fail_group(rolled.error(), false);
  }
  for (;;) {
    int code = 0;
    const Stored stored = try_store(&code);
    if (stored == Stored::kDone) {
      finish_group(&block);
      return true;
    }
    if (stored == Stored::kFailed || active_empty_) {
      const auto failure = fail_lmdb(code, "cannot commit to", set_.path_of(header_.first));
      return fail_group(failure.value(), true);
    }
    // The map is full although there seemed to be room: nothing of the group is stored; again, in
    // the successor, which is empty.
    if (auto rolled = roll(); !rolled) return fail_group(rolled.error(), false);
  }
}

void Writer::build_commit_block(CommitBlock* block) {
  group_.tenants.clear();
  block->first = group_.first;
  block->count = static_cast<uint32_t>(group_.stored);
  block->committed_ms = clock_.wall_ms();
  block->payload_bytes = group_.payload_bytes;
  group_.fingerprints.resize(group_.stored * 16);
  char* fingerprint = group_.fingerprints.data();
  for (const GroupItem& item : group_.items) {
    if (item.number == 0) continue;
    const bool first = item.number == group_.first;
    block->oldest_ms = first ? item.received_ms : std::min(block->oldest_ms, item.received_ms);
    block->newest_ms = first ? item.received_ms : std::max(block->newest_ms, item.received_ms);
    group_.tenants.add(item.entry->tenant);
    store_le(fingerprint, item.entry->fingerprint.low);
    store_le(fingerprint + 8, item.entry->fingerprint.high);
    fingerprint += 16;
  }
  block->fingerprints = group_.fingerprints;
  encode_commit(group_.block_bytes, shard_, *block, group_.tenants.rows());
  // As a reader would see it: what is recorded about the segment comes from the stored bytes.
  WEIR_CHECK(decode_commit(group_.block_bytes, shard_, block->last(), block));
}

Writer::Stored Writer::try_store(int* code) {
  *code = append_group();
  if (*code == 0) {
    const int64_t began = clock_.monotonic_ns();
    commit_started_ns_.store(began, std::memory_order_relaxed);
    *code = active_->commit();
    commit_started_ns_.store(0, std::memory_order_relaxed);
    if (admission_.has(Refusal::kSyncStalled)) admission_.clear(Refusal::kSyncStalled);
    sync_seconds_.record(static_cast<uint64_t>(clock_.monotonic_ns() - began));
  }
  if (*code == 0) return Stored::kDone;
  return is_map_full(*code) ? Stored::kFull : Stored::kFailed;
}

// The records of the group, in order, up to its commit block.
int Writer::append_group() {
  int code = active_->begin();
  if (code != 0) return code;
  if (active_empty_) {
    std::string header;
    encode_header(header, header_);
    code = active_->append(kHeaderKey, header);
    if (code != 0) return code;
  }
  uint64_t number = group_.first;
  size_t item = 0;
  for (const ChunkSize& size : group_.plan.chunks()) {
    char* to = nullptr;
    code = active_->reserve(event_key(number), size.bytes, &to);
    if (code != 0) return code;
    ChunkEncoder chunk(to, shard_, number, size);
    encode_chunk(&item, chunk);
    number += size.count;
  }
  return active_->append(commit_key(number - 1), group_.block_bytes);
}

// Fills the chunk with the group's new events from *item on, and moves *item behind them.
void Writer::encode_chunk(size_t* item, ChunkEncoder& chunk) {
  const size_t size = group_.items.size();
  for (; chunk.left() > 0; ++*item) {
    if (*item + kPayloadLookahead < size) {
      const AppendEntry& ahead = *group_.items[*item + kPayloadLookahead].entry;
      __builtin_prefetch(ahead.head.data());
      __builtin_prefetch(ahead.raw.data());
    }
    const GroupItem& next = group_.items[*item];
    if (next.number == 0) continue;
    const AppendEntry& entry = *next.entry;
    chunk.add(next.received_ms, entry.fingerprint, entry.head, entry.raw);
  }
  chunk.finish();
}

// Nothing of the group is stored. Says why, refuses it and what waits behind it.
bool Writer::fail_group(const Error& error, bool in_commit) {
  roll_back();
  const Refusal refusal = judge(error, in_commit);
  for (const auto& [part, own] : group_.finished) answer(part, refusal);
  queue_.remove(group_.bytes + group_.dropped_bytes);
  refuse_waiting(refusal);
  return false;
}

// What a failed write means. A failed sync is final: LMDB would go on and the next commit succeed,
// but the kernel may have dropped what it could not write.
Refusal Writer::judge(const Error& error, bool in_commit) {
  if (error.code == ErrorCode::kLimit) {
    log::error("group_larger_than_segment", {{"shard", shard_}, {"error", error.message}});
    return Refusal::kStoreFull;
  }
  // A short write shows as EIO, and ENOSPC can come from a sync: the file system knows better
  // whether it is full. Outside a commit nothing but a failed sync (EIO) is final.
  const auto free = disk_free_bytes(directory_);
  const bool full = free && *free < group_.cost + kDiskFullMargin;
  const bool broken = error.code == ErrorCode::kIo && error.os_errno == 0;  // MDB_PANIC
  const bool no_space = error.os_errno == ENOSPC || error.os_errno == EDQUOT;
  const bool temporary = !broken && (in_commit ? error.os_errno == EDQUOT || full
                                               : no_space || full || error.os_errno != EIO);
  if (temporary) {
    admission_.set(Refusal::kDiskFull, error.message);
    events_.wake_maintenance();
    return Refusal::kDiskFull;
  }
  admission_.set(Refusal::kSyncFailed,
                 error.message + "; nothing is written any more: check the disk, then restart");
  set_.reopen_active_for_reading();
  return Refusal::kSyncFailed;
}

// block: null when every entry is a duplicate.
void Writer::finish_group(const CommitBlock* block) {
  const int64_t now_ns = clock_.monotonic_ns();
  if (block != nullptr) {
    next_ = block->last() + 1;
    active_empty_ = false;
    set_.record_commit(*block, header_);
    events_.on_commit(shard_, *block);
    commit_seconds_.record(static_cast<uint64_t>(now_ns - group_.began_ns));
    commit_events_.record(group_.stored);
    commit_bytes_.record(group_.payload_bytes);
  }
  for (const GroupItem& item : group_.items)
    item.entry->outcome = item.number != 0 ? EntryOutcome::kStored : EntryOutcome::kDuplicate;
  duplicates_.store(duplicates() + group_.items.size() - group_.stored, std::memory_order_relaxed);
  for (const auto& [part, refusal] : group_.finished) answer(part, refusal);
  queue_.remove(group_.bytes + group_.dropped_bytes);
  if (admission_.has(Refusal::kQueueFull) && queue_.bytes() < queue_.max_bytes() / 4 * 3)
    admission_.clear(Refusal::kQueueFull);
  want_successor();
}

// ---- answers

// The last part of a request to be answered decides: committed if none was refused. The low byte of
// parts_left counts, the bits above say which refusals there were.
void Writer::answer(AppendRequest::Part* part, Refusal refusal) {
  AppendRequest* request = part->request;
  if (refusal != Refusal::kNone)
    request->parts_left.fetch_or(uint32_t{256} << static_cast<unsigned>(refusal),
                                 std::memory_order_relaxed);
  const uint32_t before = request->parts_left.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & 255) != 1) return;
  const uint32_t refused = before >> 8;
  request->outcome = refused == 0 ? AppendOutcome::kCommitted : AppendOutcome::kRefused;
  if (refused != 0) {
    request->refusal = static_cast<Refusal>(__builtin_ctz(refused));
    refusals_[static_cast<size_t>(request->refusal)]->add();
  }
  auto* appender = static_cast<StoreAppender*>(request->appender);
  if (appender->collect(shard_, request)) answered_.push_back(appender);
}

void Writer::deliver_answers() {
  for (StoreAppender* appender : answered_) appender->deliver(shard_);
  answered_.clear();
}

// Of the entries that were not taken into a group yet.
uint64_t Writer::waiting_bytes(const AppendRequest::Part& part) const {
  uint64_t bytes = 0;
  const std::span<AppendEntry> entries = part.request->entries;
  for (size_t i = part.done_entries; i < entries.size(); ++i)
    if (entries[i].shard == shard_) bytes += queue_cost(entries[i]);
  return bytes;
}

void Writer::refuse_waiting(Refusal refusal) {
  for (PartQueue* queue : {&small_, &large_}) {
    while (!queue->empty()) {
      AppendRequest::Part* part = queue->pop();
      queue_.remove(waiting_bytes(*part));
      answer(part, refusal);
    }
  }
  deliver_answers();
}

// What was lent after the thread had ended: any thread.
void Writer::refuse_leftovers() {
  AppendRequest::Part* part = mailbox_.take_all();
  while (part != nullptr) {
    AppendRequest::Part* next = part->next;
    AppendRequest* request = part->request;
    request->parts_left.fetch_or(uint32_t{256} << static_cast<unsigned>(Refusal::kStopping),
                                 std::memory_order_relaxed);
    if ((request->parts_left.fetch_sub(1, std::memory_order_acq_rel) & 255) == 1) {
      request->outcome = AppendOutcome::kRefused;
      request->refusal = Refusal::kStopping;
      static_cast<StoreAppender*>(request->appender)->deliver_one(request);
    }
    part = next;
  }
}

// ---- segments

// Seals the active segment, if there is one, and goes on in its successor. After an error nothing
// has changed but that a file may be left over; the old segment stays active.
Status Writer::roll() {
  WEIR_ASSIGN_OR_RETURN(auto next, successor_.take());
  const std::string path = set_.path_of(next_);
  // The lock file first: whoever finds the segment under its name must find its lock.
  for (const char* suffix : {"-lock", ""})
    if (rename((successor_.path() + suffix).c_str(), (path + suffix).c_str()) != 0)
      return fail_errno(errno, "cannot rename {} to {}", successor_.path() + suffix, path + suffix);
  if (auto synced = sync_directory(directory_); !synced) {
    unlink(path.c_str());
    return synced;
  }
  activate(std::move(next));
  return {};
}

void Writer::activate(std::unique_ptr<SegmentWriter> next) {
  header_ = identity_;
  header_.shard = shard_;
  header_.first = next_;
  header_.created_ms = clock_.wall_ms();
  const bool had_active = active_ != nullptr;
  active_ = std::move(next);
  active_empty_ = true;
  active_since_ns_ = clock_.monotonic_ns();
  set_.activate(next_, active_->env());
  if (had_active) events_.wake_maintenance();
}

void Writer::roll_by_age() {
  if (active_empty_ || admission_.has(Refusal::kSyncFailed)) return;
  const int64_t age_ms = (clock_.monotonic_ns() - active_since_ns_) / 1'000'000;
  if (age_ms < limits_.segment_age_ms) return;
  if (auto rolled = roll(); !rolled) {
    log::warn("segment_not_sealed", {{"shard", shard_}, {"error", rolled.error().message}});
    judge(rolled.error(), false);
  }
}

uint64_t Writer::used_of_active() const { return limits_.segment_bytes - active_->room(); }

// A quarter full: time to make the next one, and to fill it while the next half is used. The first
// one since the start is not filled: its successor is wanted once there is traffic to speak of, and
// filled at once.
void Writer::want_successor() {
  if (active_empty_) return;
  const bool paced = active_->filled();
  if (successor_.wanted()) {
    if (!paced || group_.began_ns - filling_woken_ns_ < kFillWakeNs) return;
    if (!successor_.set_due(zeros_due(used_of_active()))) return;
    filling_woken_ns_ = group_.began_ns;
    events_.wake_filling();
    return;
  }
  const uint64_t used = used_of_active();
  const uint64_t traffic = std::max(limits_.segment_bytes / kTrafficShare, kTrafficBytes);
  const uint64_t enough =
      paced ? limits_.segment_bytes / 4 : std::min(traffic, limits_.segment_bytes / 2);
  if (used < enough) return;
  successor_.want(paced ? zeros_due(used) : UINT64_MAX);
  events_.wake_maintenance();
}

// Nothing at a quarter, everything at three quarters, and a piece ahead of that.
uint64_t Writer::zeros_due(uint64_t used) const {
  const uint64_t quarter = limits_.segment_bytes / 4;
  return ZeroFill::kLeastBytes + (used > quarter ? (used - quarter) * 2 : 0);
}

// Leaves a segment that was not filled for one that is: each commit to it costs half. One that is
// half full is used up.
void Writer::roll_to_filled() {
  if (active_empty_ || active_->filled() || !successor_.filled()) return;
  if (used_of_active() >= limits_.segment_bytes / 2) return;
  if (auto rolled = roll(); !rolled) judge(rolled.error(), false);
}

// About once a second, also without traffic.
void Writer::keep_house(int64_t now_ms) {
  kept_house_ns_ = clock_.monotonic_ns();
  index_->advance(now_ms);
  if (active_ != nullptr) active_->env()->clear_dead_readers();
  dedupe_entries_.store(index_->size(), std::memory_order_relaxed);
  dedupe_window_ms_.store(index_->effective_window_ms(now_ms), std::memory_order_relaxed);
  dedupe_bytes_.store(index_->bytes(), std::memory_order_relaxed);
  evicted_window_.add(index_->evicted_by_window() - evicted_window_seen_);
  evicted_cap_.add(index_->evicted_by_cap() - evicted_cap_seen_);
  evicted_window_seen_ = index_->evicted_by_window();
  evicted_cap_seen_ = index_->evicted_by_cap();
}

}  // namespace weir::storage
