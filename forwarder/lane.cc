#include "forwarder/lane.h"

#include <algorithm>

#include "forwarder/limits.h"
#include "storage/base/check.h"
#include "storage/base/ids.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

constexpr std::array<std::string_view, 4> kStateNames = {"idle", "sending", "backing_off",
                                                         "stopped"};

}  // namespace

Lane::Lane(const DestinationOptions& options, const Surroundings& surroundings,
           std::unique_ptr<Destination> destination)
    : options_(options),
      store_(surroundings.store),
      marks_client_(surroundings.marks),
      clock_(surroundings.clock),
      budget_(surroundings.budget),
      filter_(options),
      destination_(std::move(destination)),
      encoder_(destination_->make_encoder()),
      rate_(options.rate_limit),
      cells_([&]() -> Cells {
        MetricRegistry& metrics = surroundings.metrics;
        const std::string& lane = options.name;
        const auto attempts = [&](const char* kind) -> Counter& {
          return metrics.counter(Metric::kForwardAttempts, {lane, kind});
        };
        const auto events = [&](const char* kind) -> Counter& {
          return metrics.counter(Metric::kForwardEvents, {lane, kind});
        };
        const auto state = [&](size_t i) {
          return &metrics.gauge(Metric::kForwardState, {lane, std::string(kStateNames[i])});
        };
        return {attempts("delivered"),
                attempts("retry"),
                attempts("split"),
                attempts("reject"),
                attempts("network"),
                events("sent"),
                events("failed"),
                events("expired"),
                events("skipped"),
                events("missing"),
                metrics.counter(Metric::kForwardBytes, {lane}),
                metrics.histogram(Metric::kForwardSeconds, {lane}),
                metrics.gauge(Metric::kForwardPending, {lane}),
                metrics.gauge(Metric::kForwardOldest, {lane}),
                metrics.gauge(Metric::kForwardInFlight, {lane}),
                {state(0), state(1), state(2), state(3)}};
      }()) {
  fill_random(&random_state_, sizeof random_state_);
}

Lane::~Lane() {
  if (destination_ != nullptr) destination_->abandon();
  budget_.used -= memory_;
  // Another lane may come under the same name, with cells of its own.
  for (Gauge* gauge : {&cells_.pending, &cells_.oldest, &cells_.in_flight}) gauge->set(0);
  for (Gauge* state : cells_.states) state->set(0);
}

// Whether the reason may pass without a restart of the process.
bool Lane::may_pass(ErrorCode code) {
  return code == ErrorCode::kLimit || code == ErrorCode::kNoSpace ||
         code == ErrorCode::kUnavailable || code == ErrorCode::kBusy;
}

void Lane::start() {
  if (Status loaded = load(); !loaded) stop(loaded.error());
}

Status Lane::load() {
  auto state = store_.lane(options_.name);
  if (!state) return tl::unexpected(std::move(state).error());
  for (const auto& batch : batches_) unload(*batch);
  batches_.clear();
  shards_.clear();
  replays_.clear();
  letters_ = 0;
  scan_letters_ = true;
  scanned_letters_to_ = 0;
  failures_ = address_refusals_ = 0;
  resume_ns_ = asked_to_wait_until_ns_ = 0;
  event_cap_ = options_.batch.max_events;
  stopped_.reset();
  reload_ns_ = INT64_MAX;
  const int64_t now = clock_.monotonic_ns();
  const int64_t wall = clock_.wall_ms();
  for (size_t i = 0; i < state->shards.size(); ++i) {
    const storage::LaneShard& shard = state->shards[i];
    shards_.push_back(std::make_unique<Shard>(
        Shard{BatchReader(store_, filter_, options_.batch, options_.name, static_cast<uint16_t>(i),
                          std::max(shard.frontier, shard.floor), destination_->make_encoder()),
              now}));
    for (const auto& [number, range] : shard.open) {
      if (range.requeued()) {
        adopt(range);
        continue;
      }
      Batch& batch = *batches_.emplace_back(std::make_unique<Batch>());
      batch.range = range;
      batch.id = store_.batch_id(number);
      batch.state = BatchState::kReady;
      // The wall clock may have jumped back: by as much as the first attempt lies ahead now, and
      // never is a pause longer than it can be.
      const int64_t ahead = std::max<int64_t>(range.first_attempt_ms - wall, 0);
      const int64_t longest = std::max(options_.retry.cap_ms, int64_t{3'600'000});
      batch.due_ns =
          now + std::clamp<int64_t>(range.not_before_ms - wall - ahead, 0, longest) * 1'000'000;
    }
  }
  return {};
}

void Lane::begin_turn() {
  wake_ns_ = INT64_MAX;
  if (!stopped_ || draining_ || !marks_.empty()) return;
  if (clock_.monotonic_ns() < reload_ns_) return wake_at(reload_ns_);
  if (Status loaded = load(); !loaded) return stop(loaded.error());
  log::info("destination_resumed", {{"destination", options_.name}});
}

void Lane::take_outcomes() {
  for (Send* send = destination_->take_finished(); send != nullptr;) {
    Send* const next = send->next;  // send is a part of its batch, which may end here
    Batch& batch = *static_cast<Batch*>(send->context);
    --sending_;
    batch.state = BatchState::kReady;
    cells_.seconds.record(static_cast<uint64_t>(std::max<int64_t>(send->duration_ns, 0)));
    if (batch.forgotten)
      remove(batch);
    else if (!stopped_)
      on_outcome(batch);
    send = next;
  }
}

// ---- cursor -> batch

bool Lane::memory_left() const { return memory_ == 0 || budget_.used < budget_.limit; }

// Whether another batch may be opened: when the destination is well, as many as keep `concurrency`
// requests busy while the next ranges go to the disk; while it fails, only one to ask it with.
bool Lane::may_open(int64_t now) const {
  if (stopped_ || marks_.size() >= kMaxMarksWaiting || !memory_left() || now < resume_ns_ ||
      now < read_pause_until_ns_ || batches_.size() - letters_ >= kMaxOpenBatches)
    return false;
  const auto runnable =
      static_cast<size_t>(std::count_if(batches_.begin(), batches_.end(), [&](const auto& batch) {
        return batch->state != BatchState::kReady || batch->due_ns <= now;
      }));
  if (failures_ > 0) return runnable == 0 && batches_.size() < options_.concurrency;
  return runnable < size_t{2} * options_.concurrency;
}

void Lane::read_ahead() {
  const int64_t now = clock_.monotonic_ns();
  const int64_t linger_ns = draining_ ? 0 : options_.batch.linger_ms * 1'000'000;
  for (size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = *shards_[(next_shard_ + i) % shards_.size()];
    const uint64_t unread = shard.reader.unread();
    if (unread == 0 && !shard.reader.anything()) {
      shard.pending_since_ns = 0;
      continue;
    }
    if (shard.pending_since_ns == 0) shard.pending_since_ns = now;
    if (!may_open(now)) {
      if (now < resume_ns_) wake_at(resume_ns_);
      if (now < read_pause_until_ns_) wake_at(read_pause_until_ns_);
      continue;
    }
    const bool lingered = now - shard.pending_since_ns >= linger_ns;
    if (!lingered && !shard.reader.full() && shard.reader.gathered() + unread < event_cap_) {
      wake_at(shard.pending_since_ns + linger_ns);
      continue;
    }
    if (Status read = shard.reader.gather(event_cap_, clock_.wall_ms()); !read)
      return pause_reading(read.error());
    if (!lingered && !shard.reader.full()) {  // few of them were for this lane
      wake_at(shard.pending_since_ns + linger_ns);
      continue;
    }
    open_batch(shard.reader);
    shard.pending_since_ns = shard.reader.unread() > 0 ? now : 0;
    // One batch a turn, so that no lane and no shard keeps the others waiting.
    if (shard.pending_since_ns != 0) wake_at(now);
  }
  next_shard_ = shards_.empty() ? 0 : (next_shard_ + 1) % shards_.size();
  read_replay(now);
  if (scan_letters_) fetch_letters();
}

void Lane::open_batch(BatchReader& reader, Replay* replay) {
  storage::LaneUpdate& update = new_mark();
  auto batch = std::make_unique<Batch>();
  uint64_t missing = 0;
  Result<bool> taken = reader.take(clock_.wall_ms(), batch.get(), &update, &missing);
  cells_.skipped.add(update.counts.skipped);
  cells_.failed.add(update.counts.failed);
  cells_.missing.add(missing);
  if (missing > 0)
    log::warn("events_missing", {{"destination", options_.name},
                                 {"shard", unsigned{reader.shard()}},
                                 {"events", missing},
                                 {"before", reader.cursor()}});
  if (!taken) {
    // The range stays unread in the store; the lane starts again from what is durable.
    marks_.pop_back();
    return stop(taken.error());
  }
  if (*taken) {
    memory_ += batch->memory();
    budget_.used += batch->memory();
    batches_.push_back(std::move(batch));
  }
  if (replay != nullptr) shrink_replay(*replay, update);
  submit(update);
}

void Lane::pause_reading(const Error& error) {
  read_pause_until_ns_ = monotonic_after(1'000);
  wake_at(read_pause_until_ns_);
  last_error_ = error.message;
  log::error("destination_cannot_read", {{"destination", options_.name}, {"error", error.message}});
}

// The same for a batch that is read again.
void Lane::pause_batch(Batch& batch, const Error& error) {
  unload(batch);
  batch.due_ns = monotonic_after(1'000);
  wake_at(batch.due_ns);
  last_error_ = error.message;
  log::error("destination_cannot_read",
             {{"destination", options_.name}, {"batch", batch.id}, {"error", error.message}});
}

// ---- batch -> send

void Lane::send_due() {
  const int64_t now = clock_.monotonic_ns();
  if (stopped_) return;
  while (sending_ < (failures_ > 0 ? 1u : options_.concurrency) &&
         marks_.size() < kMaxMarksWaiting) {
    const int64_t allowed_ns = std::max(resume_ns_, rate_.ready_ns());
    if (now < allowed_ns) return wake_at(allowed_ns);
    Batch* batch = next_to_send(now);
    if (batch == nullptr) return;
    if (prepare(*batch)) send(*batch);
    if (stopped_) return;
  }
}

// The lowest range first: parts of a split batch go depth first, so few of them are open at once.
// While the destination fails, the one that was tried least: a batch that fails for its own sake
// must not be the one that asks for all.
Batch* Lane::next_to_send(int64_t now) {
  Batch* best = nullptr;
  for (const auto& candidate : batches_) {
    if (candidate->state != BatchState::kReady) continue;
    if (candidate->due_ns > now) {
      wake_at(candidate->due_ns);
      continue;
    }
    // One that has its body may go; a send that finishes makes room for the others.
    if (!candidate->loaded && !memory_left()) continue;
    const auto rank = [&](const Batch& batch) {
      return std::tuple(failures_ > 0 ? batch.range.attempts : 0, batch.letter != nullptr,
                        batch.range.first, batch.range.shard);
    };
    if (best == nullptr || rank(*candidate) < rank(*best)) best = candidate.get();
  }
  return best;
}

// Fills the body again if it was let go. False when there is nothing to send.
bool Lane::prepare(Batch& batch) {
  if (batch.loaded) return true;
  uint64_t missing = 0;
  const Status loaded = batch.letter ? load_letter(*encoder_, &batch)
                                     : load_batch(store_, filter_, *encoder_, &batch, &missing);
  if (!loaded) batch.unload();
  memory_ += batch.memory();
  budget_.used += batch.memory();
  if (!loaded && batch.letter) {
    batch.send.outcome = Outcome{};
    batch.send.outcome.reason = "undecodable";
    batch.send.outcome.detail = loaded.error().message;
    finish_letter(batch, Ending::kFailed, "undecodable");
    return false;
  }
  if (!loaded) {
    pause_batch(batch, loaded.error());
    return false;
  }
  if (!batch.numbers.empty()) return true;
  // Deleted, erased or damaged since the range was opened.
  log::warn("batch_gone",
            {{"destination", options_.name}, {"batch", batch.id}, {"missing", missing}});
  cells_.missing.add(missing);
  storage::LaneUpdate& update = new_mark();
  update.close.push_back(batch.range.number);
  remove(batch);
  submit(update);
  return false;
}

void Lane::send(Batch& batch) {
  batch.state = BatchState::kSending;
  batch.probe = failures_ > 0;
  batch.send = Send{};
  batch.send.batch_id = batch.id;
  batch.send.body = batch.body;
  batch.send.events = batch.numbers.size();
  batch.send.context = &batch;
  rate_.charge(batch.send.events, clock_.monotonic_ns());
  ++sending_;
  cells_.bytes.add(batch.body.size());
  destination_->send(batch.send);
}

// ---- marks

storage::LaneUpdate& Lane::new_mark() {
  storage::LaneUpdate& update = *marks_.emplace_back(std::make_unique<storage::LaneUpdate>());
  update.lane = options_.name;
  update.context = this;
  return update;
}

void Lane::submit(storage::LaneUpdate& update) { marks_client_.submit(update); }

void Lane::on_mark(storage::LaneUpdate& update) {
  const auto found = std::find_if(marks_.begin(), marks_.end(),
                                  [&](const auto& mark) { return mark.get() == &update; });
  WEIR_CHECK(found != marks_.end(), "a mark of another lane came back to {}", options_.name);
  const std::unique_ptr<storage::LaneUpdate> mark = std::move(*found);
  marks_.erase(found);
  if (!mark->outcome) return stop(mark->outcome.error());
  for (const storage::OpenRange& range : mark->put) on_opened(range);
  for (const auto& [shard, floor] : mark->floors) forget_below(shard, floor);
}

// The batch's range is durable. What the store gave up of it meanwhile was not sent yet and is not.
void Lane::on_opened(const storage::OpenRange& range) {
  const auto found = std::find_if(batches_.begin(), batches_.end(), [&](const auto& batch) {
    return batch->state == BatchState::kOpening && batch->range.number == range.number;
  });
  if (found == batches_.end()) return;
  Batch& batch = **found;
  batch.state = BatchState::kReady;
  if (range.first == batch.range.first) return;
  if (range.first > range.last) return remove(batch);
  unload(batch);  // prepare() reads what is left
  batch.range.first = range.first;
}

// The store gave up what lies below: it is counted as expired there.
void Lane::forget_below(uint16_t shard, uint64_t floor) {
  if (shard < shards_.size()) shards_[shard]->reader.skip_to(floor);
  std::erase_if(replays_, [&](const auto& replay) {
    return replay->range.shard == shard && replay->range.last < floor;
  });
  for (const auto& replay : replays_) {
    if (replay->range.shard != shard) continue;
    replay->range.first = std::max(replay->range.first, floor);
    if (replay->reader != nullptr) replay->reader->skip_to(floor);
  }
  std::vector<Batch*> gone;
  for (const auto& batch : batches_) {
    if (batch->letter || batch->range.shard != shard || batch->range.last >= floor) continue;
    if (batch->state == BatchState::kSending)
      batch->forgotten = true;
    else
      gone.push_back(batch.get());
  }
  for (Batch* batch : gone) remove(*batch);
}

void Lane::unload(Batch& batch) {
  if (!batch.loaded) return;
  memory_ -= batch.memory();
  budget_.used -= batch.memory();
  batch.unload();
}

void Lane::remove(Batch& batch) {
  unload(batch);
  if (batch.letter) --letters_;
  std::erase_if(batches_, [&](const auto& candidate) { return candidate.get() == &batch; });
}

void Lane::stop(const Error& error) {
  if (stopped_) return;
  stopped_ = error;
  last_error_ = error.message;
  abandon();
  for (const auto& batch : batches_) unload(*batch);
  if (may_pass(error.code)) reload_ns_ = monotonic_after(kStoppedRetryMs);
  log::error("destination_stopped",
             {{"destination", options_.name},
              {"error", error.message},
              {"retries", may_pass(error.code)},
              {"hint", "nothing is lost; events wait in the store until this is resolved"}});
}

void Lane::abandon() {
  destination_->abandon();
  for (const auto& batch : batches_)
    if (batch->state == BatchState::kSending) batch->state = BatchState::kReady;
  sending_ = 0;
}

// ---- what others see

bool Lane::drained() const {
  if (!marks_.empty() || sending_ > 0) return false;
  const int64_t now = clock_.monotonic_ns();
  if (stopped_ || failures_ > 0 || now < resume_ns_) return true;
  return replays_.empty() &&
         std::all_of(batches_.begin(), batches_.end(),
                     [&](const auto& batch) { return batch->due_ns > now; }) &&
         std::all_of(shards_.begin(), shards_.end(), [](const auto& shard) {
           return shard->reader.unread() == 0 && !shard->reader.anything();
         });
}

void Lane::wake_at(int64_t monotonic_ns) { wake_ns_ = std::min(wake_ns_, monotonic_ns); }

int64_t Lane::deadline_ns() const { return std::min(wake_ns_, destination_->deadline_ns()); }

int64_t Lane::monotonic_after(int64_t delay_ms) const {
  return clock_.monotonic_ns() + delay_ms * 1'000'000;
}

// splitmix64 (Steele, Lea, Flood 2014): jitter needs no more.
uint64_t Lane::random() {
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

LaneStatus Lane::status() const {
  LaneStatus status;
  status.name = options_.name;
  size_t state = sending_ > 0 ? 1 : 0;
  if (failures_ > 0 || clock_.monotonic_ns() < resume_ns_) state = 2;
  if (stopped_) state = 3;
  status.state = kStateNames[state];
  if (state >= 2) status.last_error = last_error_;
  status.in_flight = batches_.size() - letters_;
  int64_t longest = INT64_MAX;
  int64_t next_ns = INT64_MAX;
  for (const auto& batch : batches_) {
    if (batch->range.attempts == 0) continue;
    status.last_error = last_error_;
    if (batch->range.first_attempt_ms < longest) {
      longest = batch->range.first_attempt_ms;
      status.attempts = batch->range.attempts;
    }
    if (batch->state == BatchState::kReady) next_ns = std::min(next_ns, batch->due_ns);
  }
  if (next_ns != INT64_MAX) next_ns = std::max(next_ns, resume_ns_);
  if (next_ns != INT64_MAX && !stopped_)
    status.next_attempt_ms =
        clock_.wall_ms() + std::max<int64_t>(next_ns - clock_.monotonic_ns(), 0) / 1'000'000;
  return status;
}

void Lane::publish_gauges() {
  uint64_t pending = 0;
  for (const auto& shard : shards_) pending += shard->reader.unread() + shard->reader.gathered();
  for (const auto& replay : replays_) pending += replay->unread();
  for (const auto& batch : batches_)
    if (!batch->letter)
      pending += batch->loaded ? batch->numbers.size() : batch->range.last - batch->range.first + 1;
  cells_.pending.set(static_cast<int64_t>(pending));
  const int64_t oldest = pending == 0 ? 0 : store_.oldest_pending_ms(options_.name);
  cells_.oldest.set(oldest == 0 ? 0 : std::max<int64_t>(clock_.wall_ms() - oldest, 0) / 1000);
  const LaneStatus now = status();
  cells_.in_flight.set(static_cast<int64_t>(now.in_flight));
  for (size_t i = 0; i < kStateNames.size(); ++i)
    cells_.states[i]->set(now.state == kStateNames[i] ? 1 : 0);
}

}  // namespace weir::forwarder
