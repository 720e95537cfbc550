// What the outcome of a send changes: the second half of Lane. The rules are those of
// docs/delivery.md, in the same order.
#include <algorithm>

#include "forwarder/lane.h"
#include "forwarder/limits.h"
#include "forwarder/retry_policy.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

std::string cut(std::string_view text) {
  return std::string(text.substr(0, storage::OpenRange::kMaxErrorBytes));
}

}  // namespace

void Lane::on_outcome(Batch& batch) {
  Outcome& outcome = batch.send.outcome;
  if (batch.range.first_attempt_ms == 0) batch.range.first_attempt_ms = clock_.wall_ms();
  ++batch.range.attempts;
  switch (outcome.kind) {
    case OutcomeKind::kDelivered:
      cells_.delivered.add();
      return on_delivered(batch);
    case OutcomeKind::kRetry:
      (outcome.network ? cells_.network : cells_.retry).add();
      return on_retry(batch);
    case OutcomeKind::kSplit:
    case OutcomeKind::kReject:
      (outcome.kind == OutcomeKind::kSplit ? cells_.split : cells_.reject).add();
      return on_refused(batch);
  }
}

void Lane::on_delivered(Batch& batch) {
  close_circuit();
  address_refusals_ = 0;
  // Creep back up to the configured size, slowly: every step too far costs a refused request.
  if (event_cap_ < options_.batch.max_events && ++deliveries_at_cap_ >= 64) {
    deliveries_at_cap_ = 0;
    event_cap_ = std::min(options_.batch.max_events, event_cap_ + event_cap_ / 8 + 1);
  }
  cells_.sent.add(batch.numbers.size());
  if (batch.letter) return finish_letter(batch, Ending::kSent, {});
  storage::LaneUpdate& update = new_mark();
  close_range(update, batch);
  batch.tenants.add_to(update, &storage::OutcomeCounts::sent);
  remove(batch);
  submit(update);
}

void Lane::on_retry(Batch& batch) {
  const Outcome& outcome = batch.send.outcome;
  if (!batch.probe) ++batch.lone_failures;
  open_circuit(batch);
  const std::string_view reason = give_up_reason(options_.retry, batch.range.attempts,
                                                 batch.range.first_attempt_ms, clock_.wall_ms());
  if (!reason.empty()) return give_up(batch, reason);
  // It fails again and again while others are delivered: look for the event that does it.
  if (batch.lone_failures >= kIsolateAfter && batch.numbers.size() > 1) return split(batch);

  const int64_t delay_ms =
      retry_delay_ms(options_.retry, batch.range.attempts - 1, outcome.retry_after_ms, random());
  batch.due_ns = monotonic_after(delay_ms);
  unload(batch);
  wake_at(batch.due_ns);
  if (batch.letter) return note_letter_attempt(batch);
  batch.range.not_before_ms = clock_.wall_ms() + delay_ms;
  batch.range.last_error = cut(outcome.detail);
  storage::LaneUpdate& update = new_mark();
  update.put.push_back(batch.range);
  submit(update);
}

void Lane::on_refused(Batch& batch) {
  const Outcome& outcome = batch.send.outcome;
  const bool alone = outcome.kind == OutcomeKind::kReject || batch.numbers.size() <= 1;
  if (outcome.about_address && address_refusals_ >= kMaxAddressRefusals) return on_retry(batch);
  if (outcome.about_address && alone) ++address_refusals_;
  if (!outcome.about_address) close_circuit();  // it works; it does not want this
  if (outcome.too_large && !alone) {
    event_cap_ = std::max<uint64_t>(1, std::min(event_cap_, batch.numbers.size() / 2));
    deliveries_at_cap_ = 0;
  }
  if (alone)
    reject(batch);
  else
    split(batch);
}

// Both halves under new numbers, durable together with the end of the whole.
void Lane::split(Batch& batch) {
  const size_t middle = batch.numbers.size() / 2;
  storage::LaneUpdate& update = new_mark();
  update.close.push_back(batch.range.number);
  std::unique_ptr<Batch> halves[2];
  for (auto& half : halves) {
    half = std::make_unique<Batch>();
    half->range = batch.range;
    half->range.number = store_.next_batch_number();
    half->range.not_before_ms = 0;
    half->range.last_error = cut(batch.send.outcome.detail);
    half->id = store_.batch_id(half->range.number);
  }
  halves[0]->range.last = batch.numbers[middle] - 1;
  halves[1]->range.first = batch.numbers[middle];
  log::info("batch_split", {{"destination", options_.name},
                            {"batch", batch.id},
                            {"events", batch.numbers.size()},
                            {"into", halves[0]->id},
                            {"and", halves[1]->id},
                            {"answer", batch.send.outcome.detail}});
  remove(batch);
  for (auto& half : halves) {
    update.put.push_back(half->range);
    batches_.push_back(std::move(half));
  }
  submit(update);
}

void Lane::reject(Batch& batch) {
  const Outcome& outcome = batch.send.outcome;
  cells_.failed.add(batch.numbers.size());
  log::warn("event_refused", {{"destination", options_.name},
                              {"batch", batch.id},
                              {"events", batch.numbers.size()},
                              {"reason", outcome.reason},
                              {"answer", outcome.detail}});
  if (batch.letter) return finish_letter(batch, Ending::kFailed, outcome.reason);
  auto letters = copy_events(store_, filter_, batch.range, options_.name);
  if (!letters) return pause_batch(batch, letters.error());
  storage::LaneUpdate& update = new_mark();
  close_range(update, batch);
  batch.tenants.add_to(update, &storage::OutcomeCounts::failed);
  for (storage::DeadLetter& letter : *letters) {
    letter.first_attempt_ms = batch.range.first_attempt_ms;
    letter.failed_ms = clock_.wall_ms();
    letter.attempts = batch.range.attempts;
    letter.status = outcome.status;
    letter.reason = outcome.reason;
    letter.detail = outcome.detail;
    update.dead_letters.push_back(std::move(letter));
  }
  remove(batch);
  submit(update);
}

// The retry window is over. Kept as a range: a destination that was away for days would otherwise
// be copied event by event.
void Lane::give_up(Batch& batch, std::string_view reason) {
  const Outcome& outcome = batch.send.outcome;
  cells_.expired.add(batch.numbers.size());
  log::error("batch_expired", {{"destination", options_.name},
                               {"batch", batch.id},
                               {"events", batch.numbers.size()},
                               {"attempts", batch.range.attempts},
                               {"reason", reason},
                               {"answer", outcome.detail}});
  if (batch.letter) return finish_letter(batch, Ending::kExpired, reason);
  storage::LaneUpdate& update = new_mark();
  close_range(update, batch);
  batch.tenants.add_to(update, &storage::OutcomeCounts::expired);
  storage::ExpiredRange expired;
  expired.shard = batch.range.shard;
  expired.first = batch.range.first;
  expired.last = batch.range.last;
  expired.events = batch.numbers.size();
  expired.at_ms = clock_.wall_ms();
  expired.reason = reason;
  update.expired.push_back(std::move(expired));
  remove(batch);
  submit(update);
}

void Lane::close_range(storage::LaneUpdate& update, const Batch& batch) const {
  update.close.push_back(batch.range.number);
  add_delivery(update, batch);
}

void Lane::add_delivery(storage::LaneUpdate& update, const Batch& batch) const {
  storage::DeliveryRow row;
  row.batch_number = batch.range.number;
  row.shard = batch.range.shard;
  row.first = batch.range.first;
  row.last = batch.range.last;
  row.attempts = batch.range.attempts;
  row.status = batch.send.outcome.status;
  row.finished_ms = clock_.wall_ms();
  update.deliveries.push_back(row);
}

// So that its attempts and its window go on after a restart.
void Lane::note_letter_attempt(const Batch& batch) {
  storage::LaneUpdate::DeadLetterChange change;
  change.id = batch.letter->id;
  change.kind = storage::LaneUpdate::DeadLetterChange::Kind::kRetried;
  change.replacement.requeue_attempts = batch.range.attempts;
  change.replacement.requeued_ms = batch.range.first_attempt_ms;
  storage::LaneUpdate& update = new_mark();
  update.dead_letter_changes.push_back(std::move(change));
  submit(update);
}

void Lane::finish_letter(Batch& batch, Ending ending, std::string_view reason) {
  using Change = storage::LaneUpdate::DeadLetterChange;
  Change change;
  change.id = batch.letter->id;
  change.kind = ending == Ending::kSent ? Change::Kind::kSent : Change::Kind::kFailedAgain;
  if (ending != Ending::kSent) {
    change.replacement = std::move(*batch.letter);
    change.replacement.requeued = false;
    change.replacement.attempts += batch.range.attempts;
    change.replacement.failed_ms = clock_.wall_ms();
    change.replacement.status = batch.send.outcome.status;
    change.replacement.reason = reason;
    change.replacement.detail = batch.send.outcome.detail;
  }
  storage::LaneUpdate& update = new_mark();
  if (ending == Ending::kSent) {
    batch.range.attempts += batch.letter->attempts;  // all there ever were
    add_delivery(update, batch);
  }
  update.dead_letter_changes.push_back(std::move(change));
  remove(batch);
  submit(update);
}

// ---- the circuit

void Lane::open_circuit(const Batch& failed) {
  const Outcome& outcome = failed.send.outcome;
  const bool opens = failures_ == 0;
  // Requests that were in flight together fail together: that is one failure of the destination.
  if (opens || failed.probe) ++failures_;
  const int64_t delay_ms =
      retry_delay_ms(options_.retry, failures_ - 1, outcome.retry_after_ms, random());
  resume_ns_ = std::max(resume_ns_, monotonic_after(delay_ms));
  if (outcome.retry_after_ms >= 0) asked_to_wait_until_ns_ = resume_ns_;
  last_error_ = outcome.detail;
  // What waits now may wait long: the store has it.
  for (const auto& batch : batches_)
    if (batch->state == BatchState::kReady && batch.get() != &failed) unload(*batch);
  if (!opens && outcome.reason == failing_reason_) return;
  failing_reason_ = outcome.reason;
  log::warn("destination_failing", {{"destination", options_.name},
                                    {"reason", outcome.reason},
                                    {"error", outcome.detail},
                                    {"next_attempt_ms", delay_ms}});
}

void Lane::close_circuit() {
  if (failures_ == 0) return;
  log::info("destination_recovered",
            {{"destination", options_.name}, {"failed_attempts", failures_}});
  failures_ = 0;
  // What was answered 2xx may have been sent before the destination asked everybody to wait.
  resume_ns_ = asked_to_wait_until_ns_;
  // Batches that failed with the destination need not sit out their pause. Those that failed while
  // it was well, for their own sake, keep a growing one.
  for (const auto& batch : batches_) {
    if (batch->state != BatchState::kReady || batch->range.attempts == 0) continue;
    const uint32_t own = batch->lone_failures > 0 ? batch->lone_failures - 1 : 0;
    batch->due_ns =
        std::min(batch->due_ns, monotonic_after(full_jitter_ms(options_.retry, own, random())));
  }
}

}  // namespace weir::forwarder
