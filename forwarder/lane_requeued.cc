// What was given up and is sent after all, or is sent once more: dead letters, one event each, and
// expired ranges and replays, from which batches are cut like from the log. Part of Lane.
#include <algorithm>

#include "forwarder/lane.h"
#include "forwarder/limits.h"
#include "storage/base/hash.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

// A dead letter goes out under an id of its own, made of what is durable about it: the same again
// after a restart, another one once it failed again or was edited.
std::string letter_batch_id(const storage::Store& store, const storage::DeadLetter& letter) {
  const uint64_t content = checksum64(letter.payload, letter.attempts);
  return fmt::format("{}-d{:x}-{:016x}", store.id().text(), letter.id, content);
}

}  // namespace

void Lane::look_for_requeued() {
  scan_letters_ = true;
  scanned_letters_to_ = 0;
  if (stopped_) {
    if (may_pass(stopped_->code)) reload_ns_ = 0;
    return;  // load() finds everything
  }
  const auto state = store_.lane(options_.name);
  if (!state) return;
  for (size_t shard = 0; shard < state->shards.size(); ++shard)
    for (const auto& [number, range] : state->shards[shard].open)
      if (range.requeued() && number > adopted_to_) adopt(range);
}

// ---- dead letters: no range, one event each, the same circuit.

void Lane::fetch_letters() {
  if (stopped_ || failures_ > 0 || draining_ || letters_ >= kMaxLettersInMemory) return;
  storage::DeadLetterFilter filter;
  filter.lane = options_.name;
  filter.after_id = scanned_letters_to_;
  filter.limit = kLettersPerPage;
  auto page = store_.dead_letters(filter);
  if (!page) {
    scan_letters_ = false;
    log::error("dead_letters_unreadable",
               {{"destination", options_.name}, {"error", page.error().message}});
    return;
  }
  for (const storage::DeadLetter& letter : *page) {
    if (letters_ >= kMaxLettersInMemory) return;  // goes on when some of them are done
    scanned_letters_to_ = letter.id;
    if (letter.requeued) add_letter(letter);
  }
  scan_letters_ = page->size() >= filter.limit;
  if (scan_letters_) wake_at(clock_.monotonic_ns());
}

void Lane::add_letter(const storage::DeadLetter& listed) {
  const bool known = std::any_of(batches_.begin(), batches_.end(), [&](const auto& batch) {
    return batch->letter && batch->letter->id == listed.id;
  });
  if (known) return;
  auto letter = store_.dead_letter(listed.id);
  if (!letter || !letter->requeued) return;  // discarded or taken back meanwhile
  Batch& batch = *batches_.emplace_back(std::make_unique<Batch>());
  batch.state = BatchState::kReady;
  batch.id = letter_batch_id(store_, *letter);
  batch.range.shard = letter->position.shard;
  batch.range.first = batch.range.last = letter->position.number;
  batch.range.attempts = letter->requeue_attempts;
  batch.range.first_attempt_ms = letter->requeued_ms != 0 ? letter->requeued_ms : clock_.wall_ms();
  batch.letter = std::make_unique<storage::DeadLetter>(std::move(*letter));
  ++letters_;
}

// ---- expired ranges and replays

void Lane::adopt(const storage::OpenRange& range) {
  adopted_to_ = std::max(adopted_to_, range.number);
  replays_.push_back(std::make_unique<Replay>(Replay{range, nullptr}));
}

// One batch a turn, beside those of the log.
void Lane::read_replay(int64_t now) {
  if (replays_.empty()) return;
  if (!may_open(now)) {
    if (now < resume_ns_) wake_at(resume_ns_);
    if (now < read_pause_until_ns_) wake_at(read_pause_until_ns_);
    return;
  }
  Replay& replay = *replays_.front();
  if (replay.reader == nullptr)
    replay.reader = std::make_unique<BatchReader>(store_, filter_, options_.batch, options_.name,
                                                  replay.range.shard, replay.range.first,
                                                  destination_->make_encoder(), replay.range.last);
  if (Status read = replay.reader->gather(event_cap_, clock_.wall_ms()); !read)
    return pause_reading(read.error());
  open_batch(*replay.reader, &replay);
  if (!replays_.empty()) wake_at(now);
}

// What is left of a replay after a batch was cut from it, in the same mark as the batch.
void Lane::shrink_replay(Replay& replay, storage::LaneUpdate& update) {
  replay.range.first = replay.reader->cursor();
  if (replay.range.first <= replay.range.last) {
    update.put.insert(update.put.begin(), replay.range);
    return;
  }
  update.close.push_back(replay.range.number);
  std::erase_if(replays_, [&](const auto& candidate) { return candidate.get() == &replay; });
}

}  // namespace weir::forwarder
