// What is handed out once more although it was given up: dead letters and expired ranges that were
// requeued. A part of Consumer.
#include <algorithm>

#include "forwarder/consumer.h"
#include "forwarder/limits.h"

namespace weir::forwarder {

void Consumer::look_for_requeued() {
  look_ = true;
  looked_at_letters_to_ = 0;
}

// Called while no mark is on its way: what is durable is what is here.
void Consumer::adopt_requeued() {
  if (looked_at_letters_to_ == 0) {
    if (const Status adopted = adopt_ranges(); !adopted) return break_off(adopted.error());
  }
  const auto more = adopt_letters();
  if (!more) return break_off(more.error());
  look_ = *more;
}

Status Consumer::adopt_ranges() {
  WEIR_ASSIGN_OR_RETURN(const storage::LaneState state, around_.store.lane(name()));
  for (const storage::LaneShard& shard : state.shards)
    for (const auto& [number, range] : shard.open)
      if (!ranges_.contains(number)) add_from_store(range);
  return {};
}

// Gives a range to each requeued letter that has none, a page at a time. True: there may be more.
Result<bool> Consumer::adopt_letters() {
  if (ranges_.size() >= options_.max_open_ranges) return true;
  storage::DeadLetterFilter filter;
  filter.lane = name();
  filter.after_id = looked_at_letters_to_;
  filter.limit = kLettersPerPage;
  WEIR_ASSIGN_OR_RETURN(const auto page, around_.store.dead_letters(filter));
  auto mark = new_mark();
  for (const storage::DeadLetter& letter : page) {
    if (ranges_.size() >= options_.max_open_ranges) break;
    looked_at_letters_to_ = letter.id;
    if (!letter.requeued || letters_.contains(letter.id)) continue;
    storage::OpenRange range;
    range.number = around_.store.next_batch_number();
    range.shard = letter.position.shard;
    range.first = range.last = letter.position.number;
    range.state = storage::RangeState::kDelayed;
    range.opened_ms = range.not_before_ms = around_.clock.wall_ms();
    range.owner = RangeOwner{0, letter.id, {}}.text();
    put(mark->update, range, around_.clock.monotonic_ns());
  }
  if (!mark->update.put.empty()) submit(std::move(mark));
  return page.size() >= filter.limit || (!page.empty() && looked_at_letters_to_ != page.back().id);
}

// The event of a letter as it is now: it may have been edited, and its segment may be gone.
Result<TakenRange> Consumer::take_letter(LeaseBody& body, const Held& held, Mark& mark) {
  TakenRange taken;
  taken.next = held.range.last + 1;
  const auto letter = around_.store.dead_letter(held.letter);
  if (!letter && letter.error().code != ErrorCode::kNotFound) return tl::unexpected(letter.error());
  if (!letter || !letter->requeued) return taken;  // discarded, or decided, meanwhile
  if (!body.fits(letter->payload.size())) {
    taken.next = held.range.first;
    return taken;
  }
  EventFields fields;
  if (!decode_event_record(letter->payload, &fields)) {
    fail_again(mark.update, held, "undecodable", "its record cannot be decoded");
    return taken;
  }
  body.add({letter->position, letter->received_ms, {}, letter->payload}, fields);
  taken.events = 1;
  return taken;
}

// Calls visit for what a range holds: events of the log, or the letter's.
Status Consumer::visit(const Held& held,
                       FunctionRef<void(const storage::StoredEvent&)> visit) const {
  uint64_t missing = 0;
  if (held.letter == 0) return read_range(around_.store, held.range, &missing, visit);
  const auto letter = around_.store.dead_letter(held.letter);
  if (!letter && letter.error().code == ErrorCode::kNotFound) return {};
  if (!letter) return tl::unexpected(letter.error());
  visit({letter->position, letter->received_ms, {}, letter->payload});
  return {};
}

void Consumer::fail_again(storage::LaneUpdate& update, const Held& held, std::string reason,
                          std::string detail) const {
  auto letter = around_.store.dead_letter(held.letter);
  if (!letter) return;  // discarded meanwhile
  storage::LaneUpdate::DeadLetterChange change;
  change.id = held.letter;
  change.kind = storage::LaneUpdate::DeadLetterChange::Kind::kFailedAgain;
  change.replacement = std::move(*letter);
  change.replacement.requeued = false;
  change.replacement.attempts += held.range.attempts;
  change.replacement.requeue_attempts = 0;
  change.replacement.requeued_ms = 0;
  change.replacement.failed_ms = around_.clock.wall_ms();
  change.replacement.status = 0;
  change.replacement.reason = std::move(reason);
  change.replacement.detail = cut_detail(std::move(detail));
  update.dead_letter_changes.push_back(std::move(change));
}

}  // namespace weir::forwarder
