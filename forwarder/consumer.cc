#include "forwarder/consumer.h"

#include <algorithm>
#include <utility>

#include "forwarder/limits.h"
#include "storage/base/check.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

constexpr int64_t kMs = 1'000'000;

uint64_t width(const storage::OpenRange& range) { return range.last - range.first + 1; }

}  // namespace

PullCells::PullCells(MetricRegistry& metrics, const std::string& label)
    : leases(metrics.gauge(Metric::kPullLeases, {label})),
      leased_events(metrics.gauge(Metric::kPullLeasedEvents, {label})),
      open_ranges(metrics.gauge(Metric::kPullOpenRanges, {label})),
      waiting(metrics.gauge(Metric::kPullWaiting, {label})),
      bytes(metrics.counter(Metric::kPullBytes, {label})),
      handed_out(metrics.counter(Metric::kPullEvents, {label, "leased"})),
      redelivered(metrics.counter(Metric::kPullEvents, {label, "redelivered"})),
      acked(metrics.counter(Metric::kPullEvents, {label, "acked"})),
      nacked(metrics.counter(Metric::kPullEvents, {label, "nacked"})),
      rejected(metrics.counter(Metric::kPullEvents, {label, "rejected"})),
      dead_lettered(metrics.counter(Metric::kPullEvents, {label, "max_deliveries"})),
      released(metrics.counter(Metric::kPullEvents, {label, "released"})),
      expired(metrics.counter(Metric::kPullEvents, {label, "lease_expired"})),
      skipped(metrics.counter(Metric::kPullEvents, {label, "skipped"})),
      missing(metrics.counter(Metric::kPullEvents, {label, "missing"})) {}

Consumer::Consumer(ConsumerOptions options, bool declared, const Surroundings& surroundings,
                   PullCells& cells)
    : options_(std::move(options)),
      declared_(declared),
      around_(surroundings),
      cells_(cells),
      filter_(options_.filter_tenants, options_.filter_names, options_.filter_sources,
              options_.sandbox) {}

Consumer::~Consumer() {
  cells_.leases.add(-published_.leases);
  cells_.leased_events.add(-published_.leased_events);
  cells_.open_ranges.add(-published_.open_ranges);
  cells_.waiting.add(-published_.waiting);
}

Status Consumer::load() {
  WEIR_ASSIGN_OR_RETURN(const storage::LaneState state, around_.store.lane(name()));
  forget_ranges();
  endings_.clear();
  cursors_.clear();
  look_for_requeued();
  skipped_ = {};
  skipped_since_ns_ = 0;
  broken_.reset();
  ConsumerOptions kept = options_;
  if (!state.note.empty() && !decode_note(state.note, &kept, &endings_))
    log::warn("consumer_note_unreadable", {{"consumer", name()}});
  if (!declared_) {
    kept.lane.max_idle_ms = state.max_idle_ms;
    options_ = kept;
    filter_ = EventFilter(options_.filter_tenants, options_.filter_names, options_.filter_sources,
                          options_.sandbox);
  }
  active_ms_ = noted_active_ms_ = state.active_ms;
  for (const storage::LaneShard& shard : state.shards) {
    cursors_.push_back(std::max(shard.frontier, shard.floor));
    for (const auto& [number, range] : shard.open) add_from_store(range);
  }
  publish();
  return {};
}

void Consumer::configure(const ConsumerOptions& options, bool declared) {
  const bool was_declared = std::exchange(declared_, declared);
  options_ = options;
  filter_ = EventFilter(options_.filter_tenants, options_.filter_names, options_.filter_sources,
                        options_.sandbox);
  if (declared_ || !was_declared || broken_ || stopped_) return;
  auto mark = new_mark();
  mark->update.note = encode_note(options_, endings_);
  submit(std::move(mark));
}

// The wall clock may have jumped while the process was away: no lease and no delay lasts longer
// than it was made for.
void Consumer::add_from_store(const storage::OpenRange& range) {
  const int64_t length = std::max<int64_t>(range.not_before_ms - range.opened_ms, 0);
  const int64_t left =
      std::clamp<int64_t>(range.not_before_ms - around_.clock.wall_ms(), 0, length);
  const Held& held = hold(range, around_.clock.monotonic_ns() + left * kMs);
  due_.insert({held.due_ns, range.number});
  if (held.lease == 0) return;
  Lease& lease = leases_[held.lease];
  lease.ranges.push_back(range.number);
  lease.holder = RangeOwner::parse(range.owner).holder;
  lease.due_ns = held.due_ns;
  lease.events += width(range);
  lease.delivery = range.attempts;
}

// ---- handing out

int64_t Consumer::lease_ms(const PullCall& call) const {
  const int64_t wanted = call.lease_ms > 0 ? call.lease_ms : options_.lease_ms;
  return std::clamp<int64_t>(wanted, 1'000, around_.options.max_lease_ms);
}

void Consumer::lease(PullCall& call) {
  touch();
  const int64_t wait_ms = std::clamp<int64_t>(call.wait_ms, 0, around_.options.max_wait_ms);
  waiters_.push_back({&call, around_.clock.monotonic_ns() + wait_ms * kMs});
}

void Consumer::turn() {
  const int64_t now = around_.clock.monotonic_ns();
  if (broken_ && marks_.empty() && now >= pause_until_ns_) {
    if (auto loaded = load(); !loaded) {
      broken_ = loaded.error();
      pause_until_ns_ = now + kBrokenPauseMs * kMs;
    }
  }
  if (!broken_ && !stopped_) {
    if (look_ && marks_.empty()) adopt_requeued();
    expire_due();
    bury_exhausted();
  }
  serve();
  answer_late_waiters();
  if (!broken_) save_skipped(false);
  publish();
}

void Consumer::serve() {
  gated_ = false;
  more_to_do_ = false;
  size_t passed_over = 0;
  const int64_t now = around_.clock.monotonic_ns();
  while (!waiters_.empty() && !broken_ && !stopped_ && now >= pause_until_ns_) {
    PullCall& call = *waiters_.front().call;
    if (call.cancelled) {
      waiters_.pop_front();
      call.empty = true;
      around_.finish(call);
      continue;
    }
    if (marks_.size() >= kMaxMarksWaiting) return;
    if (around_.memory.load(std::memory_order_relaxed) >= around_.options.max_memory_bytes) {
      gated_ = true;
      return;
    }
    const Grant granted = grant(call);
    if (granted == Grant::kNothing) return;
    if (granted == Grant::kDone) waiters_.pop_front();
    // Where a filter passes over millions, the others get their turn in between.
    more_to_do_ = granted == Grant::kAgain && ++passed_over >= kPassedOverPerTurn;
    if (more_to_do_) return;
  }
}

void Consumer::answer_late_waiters() {
  const int64_t now = around_.clock.monotonic_ns();
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    PullCall& call = *waiter->call;
    if (broken_ || stopped_) {
      const Error& why = stopped_ ? *stopped_ : *broken_;
      fail_call(call, why.code == ErrorCode::kNotFound ? why.code : ErrorCode::kUnavailable,
                error_code_name(why.code), why.message);
    } else if (call.cancelled || waiter->deadline_ns <= now) {
      call.empty = true;
      call.backlog_events = backlog();
      around_.finish(call);
    } else {
      ++waiter;
      continue;
    }
    waiter = waiters_.erase(waiter);
  }
}

// kAgain: something was done, look once more.
Consumer::Grant Consumer::grant(PullCall& call) {
  const bool again = !ready_.empty();
  if (!again && (unread() == 0 || ranges_.size() + cursors_.size() > options_.max_open_ranges))
    return Grant::kNothing;
  if (spare_number_ == 0) spare_number_ = around_.store.next_batch_number();
  const uint64_t number = spare_number_;
  Lease lease;
  lease.holder = call.holder.substr(0, kMaxHolderBytes);
  lease.due_ns = around_.clock.monotonic_ns() + lease_ms(call) * kMs;
  lease.tallied = true;
  lease.delivery = again ? ranges_.at(ready_.begin()->second).range.attempts + 1 : 1;
  uint64_t max_events = std::clamp<uint64_t>(call.max_events, 1, around_.options.max_events);
  if (again) {
    // An event that kills whoever reads it must stand alone before max_deliveries takes its
    // neighbours along: from some delivery on each lease is half of the one before.
    const Held& first = ranges_.at(ready_.begin()->second);
    if (first.expired && first.range.attempts >= kIsolateAfterDeliveries)
      max_events = std::min(max_events, std::max<uint64_t>(width(first.range) / 2, 1));
  }
  LeaseBody body(around_.store, filter_, name(), call.format, max_events,
                 std::clamp<uint64_t>(call.max_bytes, 1, around_.options.max_bytes));
  call.expires_ms = around_.clock.wall_ms() + lease_ms(call);
  call.lease = around_.store.batch_id(number);
  body.begin({call.lease, around_.options.node, call.expires_ms, lease.delivery});
  auto mark = new_mark();
  const auto taken = again ? take_ready(body, call, *mark, lease, number)
                           : take_new(body, call, *mark, lease, number);
  if (!taken) {
    log::error("consumer_cannot_read", {{"consumer", name()}, {"error", taken.error().message}});
    // What was changed here meanwhile is read anew.
    break_off(taken.error());
    return Grant::kNothing;
  }
  if (body.events() == 0) {
    call.lease.clear();
    if (!mark->update.close.empty()) submit(std::move(mark));
    return *taken ? Grant::kAgain : Grant::kNothing;
  }
  spare_number_ = 0;
  call.events = lease.events = body.events();
  call.delivery = lease.delivery;
  call.backlog_events = backlog();
  call.backlog_oldest_seconds = backlog_oldest_seconds();
  auto& compressor = *around_.compressors[static_cast<size_t>(call.compression)];
  if (Status done =
          body.finish(call.backlog_events, call.backlog_oldest_seconds, compressor, &call.body);
      !done) {
    break_off(done.error());
    return Grant::kNothing;
  }
  open_lease(call, std::move(mark), std::move(lease), number);
  return Grant::kDone;
}

// Ranges that were handed out before: those with as many deliveries as the first.
Result<bool> Consumer::take_ready(LeaseBody& body, const PullCall& call, Mark& mark, Lease& lease,
                                  uint64_t number) {
  const uint32_t attempts = lease.delivery - 1;
  const bool alone =
      ranges_.at(ready_.begin()->second).expired && attempts >= kIsolateAfterDeliveries;
  std::vector<uint64_t> candidates;
  for (const auto& [due, candidate] : ready_) {
    if (ranges_.at(candidate).range.attempts != attempts) continue;
    candidates.push_back(candidate);
    if (alone || candidates.size() >= kMaxRangesPerLease) break;
  }
  for (const uint64_t candidate : candidates) {
    if (body.full()) break;
    const Held held = ranges_.at(candidate);
    storage::OpenRange range = held.range;
    WEIR_ASSIGN_OR_RETURN(const TakenRange taken,
                          held.letter != 0 ? take_letter(body, held, mark)
                                           : body.take(range.shard, range.first, range.last,
                                                       around_.clock.wall_ms()));
    if (taken.next == range.first) break;  // its first event does not fit any more
    cells_.missing.add(taken.missing);
    erase(candidate);
    mark.update.close.push_back(candidate);
    if (taken.next <= range.last) {  // the rest stays where it was
      storage::OpenRange rest = range;
      rest.number = around_.store.next_batch_number();
      rest.first = taken.next;
      rest.state = storage::RangeState::kDelayed;
      rest.owner.clear();
      put(mark.update, rest, held.due_ns);
      ranges_.at(rest.number).expired = held.expired;
    }
    range.last = taken.next - 1;
    if (taken.events == 0) continue;  // gone from the store
    range.number = lease.ranges.empty() ? number : around_.store.next_batch_number();
    lease_range(mark, lease, number, range, taken, call);
  }
  return !mark.update.close.empty();
}

// Events nobody has had yet, from one shard after the other.
Result<bool> Consumer::take_new(LeaseBody& body, const PullCall& call, Mark& mark, Lease& lease,
                                uint64_t number) {
  bool more = false;
  for (size_t i = 0; i < cursors_.size() && !body.full(); ++i) {
    const auto shard = static_cast<uint16_t>((next_shard_ + i) % cursors_.size());
    uint64_t& cursor = cursors_[shard];
    if (cursor >= around_.store.committed_end(shard)) continue;
    WEIR_ASSIGN_OR_RETURN(const TakenRange taken,
                          body.take(shard, cursor, UINT64_MAX, around_.clock.wall_ms()));
    if (taken.next == cursor) continue;
    storage::OpenRange range;
    range.shard = shard;
    range.first = cursor;
    range.last = taken.next - 1;
    cursor = taken.next;
    skipped_.frontiers.emplace_back(shard, cursor);
    note_taken(taken, skipped_);
    if (skipped_since_ns_ == 0) skipped_since_ns_ = around_.clock.monotonic_ns();
    more = more || cursor < around_.store.committed_end(shard);
    if (taken.events == 0) continue;
    range.number = lease.ranges.empty() ? number : around_.store.next_batch_number();
    lease_range(mark, lease, number, range, taken, call);
  }
  next_shard_ = (next_shard_ + 1) % cursors_.size();
  return more;
}

void Consumer::note_taken(const TakenRange& taken, storage::LaneUpdate& update) {
  taken.skipped.add_to(update, &storage::OutcomeCounts::skipped);
  // Whose the undecodable ones are nobody can say any more: only the lane counts them.
  update.counts.failed += taken.undecodable.size();
  update.dead_letters.insert(update.dead_letters.end(), taken.undecodable.begin(),
                             taken.undecodable.end());
  cells_.skipped.add(taken.skipped.total());
  cells_.missing.add(taken.missing);
  if (taken.missing > 0)
    log::warn("events_missing", {{"consumer", name()}, {"events", taken.missing}});
}

void Consumer::lease_range(Mark& mark, Lease& lease, uint64_t number, storage::OpenRange range,
                           const TakenRange& taken, const PullCall& call) {
  const int64_t wall = around_.clock.wall_ms();
  range.state = storage::RangeState::kLeased;
  range.attempts = lease.delivery;
  range.opened_ms = wall;
  if (range.first_attempt_ms == 0) range.first_attempt_ms = wall;
  range.not_before_ms = wall + lease_ms(call);
  range.owner = RangeOwner{number, RangeOwner::parse(range.owner).letter, call.holder}.text();
  range.last_error.clear();
  put(mark.update, range, lease.due_ns);
  lease.ranges.push_back(range.number);
  for (const auto& [tenant, events] : taken.tenants.rows()) lease.tenants.add(tenant, events);
}

void Consumer::open_lease(PullCall& call, std::unique_ptr<Mark> mark, Lease lease,
                          uint64_t number) {
  if (skipped_since_ns_ != 0) {  // what was passed over on the way goes along
    storage::LaneUpdate& update = mark->update;
    update.frontiers = std::move(skipped_.frontiers);
    update.counts = skipped_.counts;
    update.tenants = std::move(skipped_.tenants);
    update.dead_letters = std::move(skipped_.dead_letters);
    skipped_ = {};
    skipped_since_ns_ = 0;
  }
  around_.memory.fetch_add(call.body.size(), std::memory_order_relaxed);
  cells_.bytes.add(call.body.size());
  (lease.delivery > 1 ? cells_.redelivered : cells_.handed_out).add(lease.events);
  leases_[number] = std::move(lease);
  mark->calls.push_back(&call);
  submit(std::move(mark));
}

// Whether the store gave up a part of what a lease was to hand out, before this was durable: the
// consumer was away, or dropped its oldest. A requeued dead letter has its events with it.
bool Consumer::given_up_meanwhile(const Mark& mark) const {
  if (mark.calls.empty() || mark.calls.front()->kind != PullKind::kLease) return false;
  return std::any_of(mark.update.put.begin(), mark.update.put.end(), [&](const auto& range) {
    const auto held = ranges_.find(range.number);
    return held != ranges_.end() && held->second.letter == 0 &&
           held->second.range.first != range.first;
  });
}

// Nobody has seen the lease: what is left of it waits for the next one, which the call gets.
void Consumer::serve_anew(Mark& mark) {
  PullCall& call = *mark.calls.front();
  auto rest = new_mark();
  const int64_t now = around_.clock.monotonic_ns();
  for (const storage::OpenRange& kept : mark.update.put) {
    const auto held = ranges_.find(kept.number);
    if (held == ranges_.end()) continue;
    storage::OpenRange range = held->second.range;
    if (held->second.letter == 0) range.first = kept.first;
    erase(kept.number);
    cursors_[range.shard] = std::max(cursors_[range.shard], range.first);
    if (range.first > range.last) continue;
    give_back(range);
    put(rest->update, range, now);
  }
  if (const auto lease = leases_.extract(lease_number(call.lease).value_or(0)))
    cells_.released.add(lease.mapped().events);
  if (!rest->update.put.empty()) submit(std::move(rest));
  around_.memory.fetch_sub(call.body.size(), std::memory_order_relaxed);
  call.body.clear();
  call.lease.clear();
  const int64_t wait_ms = std::clamp<int64_t>(call.wait_ms, 0, around_.options.max_wait_ms);
  waiters_.push_front({&call, now + wait_ms * kMs});
}

// Events that are passed over (filter, sandbox) move the position once a second, or with the next
// lease: a consumer that wants one event in a thousand does not sync for each of the others.
void Consumer::save_skipped(bool now) {
  if (skipped_since_ns_ == 0 || marks_.size() >= kMaxMarksWaiting) return;
  const int64_t since = around_.clock.monotonic_ns() - skipped_since_ns_;
  if (!now && since < kSkippedQuietMs * kMs && skipped_.dead_letters.empty() &&
      skipped_.counts.skipped < kMaxSkippedPerUpdate)
    return;
  auto mark = new_mark();
  mark->update.frontiers = std::move(skipped_.frontiers);
  mark->update.counts = skipped_.counts;
  mark->update.tenants = std::move(skipped_.tenants);
  mark->update.dead_letters = std::move(skipped_.dead_letters);
  skipped_ = {};
  skipped_since_ns_ = 0;
  submit(std::move(mark));
}

// ---- ranges

Consumer::Held& Consumer::hold(const storage::OpenRange& range, int64_t due_ns) {
  Held& held = ranges_[range.number];
  held.range = range;
  held.due_ns = due_ns;
  const RangeOwner owner = RangeOwner::parse(range.owner);
  held.lease = range.state == storage::RangeState::kLeased ? owner.lease : 0;
  held.letter = owner.letter;
  if (held.letter != 0) letters_.insert(held.letter);
  return held;
}

void Consumer::put(storage::LaneUpdate& update, const storage::OpenRange& range, int64_t due_ns) {
  update.put.push_back(range);
  const Held& held = hold(range, due_ns);
  if (due_ns > around_.clock.monotonic_ns() || held.lease != 0)
    due_.insert({due_ns, range.number});
  else
    ready_.insert({due_ns, range.number});
}

void Consumer::erase(uint64_t number) {
  const auto found = ranges_.find(number);
  if (found == ranges_.end()) return;
  due_.erase({found->second.due_ns, number});
  ready_.erase({found->second.due_ns, number});
  letters_.erase(found->second.letter);
  ranges_.erase(found);
}

void Consumer::forget_ranges() {
  ranges_.clear();
  letters_.clear();
  due_.clear();
  ready_.clear();
  exhausted_.clear();
  leases_.clear();
}

// The store gave up what lies below: it is counted as expired there.
void Consumer::forget_below(uint16_t shard, uint64_t floor) {
  if (shard < cursors_.size()) cursors_[shard] = std::max(cursors_[shard], floor);
  std::vector<uint64_t> gone;
  for (const auto& [number, held] : ranges_)
    if (held.range.shard == shard && held.range.last < floor) gone.push_back(number);
  for (const uint64_t number : gone) {
    const uint64_t lease = ranges_.at(number).lease;
    erase(number);
    if (lease == 0) continue;
    std::erase(leases_.at(lease).ranges, number);
    leases_.at(lease).tallied = false;
    if (leases_.at(lease).ranges.empty()) leases_.erase(lease);
  }
}

// ---- marks

std::unique_ptr<Consumer::Mark> Consumer::new_mark() {
  auto mark = std::make_unique<Mark>();
  mark->consumer = this;
  mark->update.lane = name();
  mark->update.context = mark.get();
  return mark;
}

void Consumer::submit(std::unique_ptr<Mark> mark) {
  mark->update.active_ms = noted_active_ms_ = active_ms_;
  storage::LaneUpdate& update = mark->update;
  marks_.push_back(std::move(mark));
  around_.marks.submit(update);
}

void Consumer::on_mark(Mark& mark) {
  const auto found = std::find_if(marks_.begin(), marks_.end(),
                                  [&](const auto& mine) { return mine.get() == &mark; });
  WEIR_CHECK(found != marks_.end(), "a mark of another consumer came back to {}", name());
  const std::unique_ptr<Mark> done = std::move(*found);
  marks_.erase(found);
  if (!done->update.outcome) {
    const Error& error = done->update.outcome.error();
    log::error("consumer_mark_failed", {{"consumer", name()}, {"error", error.message}});
    break_off(error);
  }
  for (PullCall* call : done->calls) {
    if (!done->update.outcome) {
      around_.memory.fetch_sub(call->body.size(), std::memory_order_relaxed);
      call->body.clear();
      const Error& error = done->update.outcome.error();
      fail_call(*call, error.code == ErrorCode::kNotFound ? error.code : ErrorCode::kUnavailable,
                error_code_name(error.code), error.message);
      continue;
    }
    if (given_up_meanwhile(*done)) {
      serve_anew(*done);
      continue;
    }
    around_.finish(*call);
  }
  if (!done->update.outcome) return;
  for (const auto& [shard, floor] : done->update.floors) forget_below(shard, floor);
}

void Consumer::break_off(const Error& why) {
  if (!broken_) broken_ = why;
  pause_until_ns_ = around_.clock.monotonic_ns() + kBrokenPauseMs * kMs;
}

void Consumer::fail_call(PullCall& call, ErrorCode code, std::string_view stable,
                         std::string message) {
  call.code = stable;
  call.status = tl::unexpected(Error{code, 0, std::move(message)});
  around_.finish(call);
}

// A sign of life, durable at least ten times in max_idle.
void Consumer::touch() {
  active_ms_ = std::max(active_ms_, around_.clock.wall_ms());
  const int64_t every_ms = std::min<int64_t>(options_.lane.max_idle_ms / 10, 3'600'000);
  if (options_.lane.max_idle_ms == 0 || broken_ || stopped_) return;
  if (active_ms_ - noted_active_ms_ <= every_ms) return;
  if (noted_active_ms_ != 0 && active_ms_ - noted_active_ms_ > options_.lane.max_idle_ms)
    log::info("consumer_is_back", {{"consumer", name()}});
  submit(new_mark());
}

void Consumer::stop(const Error& why) {
  if (!stopped_) stopped_ = why;
  answer_late_waiters();
  if (!broken_) save_skipped(true);
}

}  // namespace weir::forwarder
