// Writing dead letters: staged, made durable, then confirmed or taken back; files that are no
// longer needed go. See dead_letters.h. Path: cold.  Thread: the state thread.
#include <unistd.h>

#include <algorithm>

#include "storage/base/log.h"
#include "storage/dead_letters_impl.h"
#include "storage/disk.h"

namespace weir::storage {
namespace {

// A full file with at most this share of live bytes is emptied into the current one, so that one
// letter nobody decides about does not keep thousands of decided ones on disk.
constexpr uint64_t kMoveBelowPercent = 25;
constexpr size_t kMovesPerAppend = 64;

}  // namespace

// ---------------------------------------------------------------- appending

void DeadLettersImpl::stage_contents(uint64_t id, DeadLetter letter) {
  StagedRecord record;
  record.number = next_record_++;
  letter.id = id == 0 ? record.number : id;
  record.value = encode_dead_letter(options_.store_id, record.number, letter);
  record.record.number = record.number;
  record.record.is_contents = true;
  record.record.letter_id = letter.id;
  letter.payload.clear();
  record.record.letter = std::move(letter);
  staged_.push_back(std::move(record));
}

void DeadLettersImpl::stage_status(uint64_t id, DeadLetterStatus status, const DeadLetter& letter,
                                   const RequeueProgress& progress) {
  StagedRecord record;
  record.number = next_record_++;
  record.value = encode_dead_letter_status(options_.store_id, record.number, id, status, progress);
  record.record.number = record.number;
  record.record.letter_id = id;
  record.record.status = status;
  record.record.progress = progress;
  record.record.letter = letter;
  staged_.push_back(std::move(record));
}

Status DeadLettersImpl::stage_letters(const LaneUpdate& update, Effect* effect) {
  std::map<Position, const DeadLetter*> latest;  // of one position the last one counts
  for (const DeadLetter& letter : update.dead_letters) latest[letter.position] = &letter;
  std::vector<uint64_t> ids;
  size_t added = 0;
  {
    std::lock_guard lock(mutex_);
    const auto lane = texts_.find(update.lane);
    for (const auto& [position, letter] : latest) {
      auto found = by_position_.end();
      if (lane) found = by_position_.find({position.shard, position.number, *lane});
      ids.push_back(found == by_position_.end() ? 0 : found->second);
      if (ids.back() == 0) ++added;
    }
    if (letters_.size() + added > options_.max_letters && added > 0)
      return fail(ErrorCode::kLimit,
                  "{} failed events are kept, the most dead_letter_max allows; lane {} stops until "
                  "some are requeued or discarded",
                  letters_.size(), update.lane);
  }
  size_t i = 0;
  for (const auto& [position, letter] : latest) {
    const uint64_t id = ids[i++];
    if (id != 0) ++effect->replaced[letter->tenant];
    DeadLetter copy = *letter;
    copy.lane = update.lane;
    stage_contents(id, std::move(copy));
  }
  return {};
}

Status DeadLettersImpl::stage_change(const LaneUpdate& update,
                                     const LaneUpdate::DeadLetterChange& change, Effect* effect) {
  using Kind = LaneUpdate::DeadLetterChange::Kind;
  DeadLetter letter;
  {
    std::lock_guard lock(mutex_);
    auto found = letters_.find(change.id);
    if (found == letters_.end()) return {};  // decided before: applying it again is nothing
    const LetterEntry& entry = found->second;
    if (texts_.text(entry.lane) != update.lane)
      return fail(ErrorCode::kInvalidArgument, "failed event {} belongs to lane {}, not {}",
                  change.id, texts_.text(entry.lane), update.lane);
    letter.position = entry.position;
    letter.tenant = texts_.text(entry.tenant);
  }
  switch (change.kind) {
    case Kind::kSent:
      effect->sent.emplace_back(letter.tenant, letter.position);
      stage_status(change.id, DeadLetterStatus::kSent, letter);
      break;
    case Kind::kDiscarded:
      effect->discarded.emplace_back(letter.tenant, letter.position);
      stage_status(change.id, DeadLetterStatus::kDiscarded, letter);
      break;
    case Kind::kRequeued:
      stage_status(change.id, DeadLetterStatus::kRequeued, letter, {0, clock_.wall_ms()});
      break;
    case Kind::kRetried:
      stage_status(change.id, DeadLetterStatus::kRetried, letter,
                   {change.replacement.requeue_attempts, change.replacement.requeued_ms});
      break;
    case Kind::kFailedAgain:
    case Kind::kEdited: {
      // Position, lane and tenant say which event it is; nobody changes those.
      DeadLetter replacement = change.replacement;
      replacement.lane = update.lane;
      replacement.position = letter.position;
      replacement.tenant = letter.tenant;
      stage_contents(change.id, std::move(replacement));
      break;
    }
  }
  return {};
}

Status DeadLettersImpl::stage(const LaneUpdate& update, Effect* effect) {
  std::set<uint64_t> ids;
  for (const auto& change : update.dead_letter_changes) {
    if (!ids.insert(change.id).second)
      return fail(ErrorCode::kInvalidArgument, "an update changes failed event {} twice",
                  change.id);
    WEIR_RETURN_IF_ERROR(stage_change(update, change, effect));
  }
  return stage_letters(update, effect);
}

Result<DeadLetters::Effect> DeadLettersImpl::append(const LaneUpdate& update) {
  if (!broken_) return tl::unexpected(broken_.error());
  Effect effect;
  staged_.clear();
  stage_moves();
  const size_t moves = staged_.size();
  auto staged = stage(update, &effect);
  if (staged && staged_.size() == moves) staged_.clear();  // nothing new: no reason to write
  if (staged && !staged_.empty()) staged = write_staged();
  if (!staged) {
    staged_.clear();  // the numbers are simply not used
    return tl::unexpected(std::move(staged).error());
  }
  effect.mark = mark();
  return effect;
}

Status DeadLettersImpl::write_staged() {
  uint64_t bytes = 0;
  for (const StagedRecord& record : staged_) bytes += record.value.size() + 64;
  // Room for the tree and for taking the records back; else the next file.
  const auto roomy = [&](const LmdbFile& lmdb) {
    return lmdb.used_bytes() + 2 * bytes + 32 * lmdb.page_bytes() <= lmdb.map_bytes();
  };
  if (files_.empty() || !roomy(files_.rbegin()->second->lmdb))
    WEIR_RETURN_IF_ERROR(new_file(4 * bytes + (256 << 10)));
  staged_file_ = files_.rbegin()->second;
  auto written = write_to(*staged_file_);
  if (written) return {};
  if (written.error().os_errno == kLmdbMapFull)
    return fail(ErrorCode::kNoSpace, "{} is full although it was not expected to be",
                staged_file_->lmdb.path());
  // A full disk may surface as EIO; anything else is a sync whose outcome nobody knows.
  auto free = disk_free_bytes(options_.directory);
  const bool full = written.error().code == ErrorCode::kNoSpace || (free && *free < (1 << 20));
  if (full)
    return fail(ErrorCode::kNoSpace, "no space for failed events: {}; free some on {}",
                written.error().message, options_.directory);
  broken_ = tl::unexpected(written.error());
  broken_.error().message += "; failed events cannot be stored until Weir is restarted";
  return broken_;
}

Status DeadLettersImpl::write_to(DeadFile& file) {
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(file.lmdb));
  for (const StagedRecord& record : staged_)
    WEIR_RETURN_IF_ERROR(txn.append(dead_letter_key(record.number), record.value));
  return txn.commit();
}

Status DeadLettersImpl::new_file(uint64_t at_least) {
  const uint64_t number = files_.empty() ? 1 : files_.rbegin()->first + 1;
  const std::string name = dead_letter_file_name(number);
  const std::string path = options_.directory + "/" + name;
  auto file = std::make_shared<DeadFile>();
  file->number = number;
  LmdbFile::Options options;
  options.map_bytes = std::max(options_.file_bytes, at_least);
  auto made = [&]() -> Status {
    WEIR_ASSIGN_OR_RETURN(file->lmdb, LmdbFile::open(path, options));
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(file->lmdb));
    WEIR_RETURN_IF_ERROR(
        txn.put(dead_letter_key(0), encode_dead_letter_header(options_.store_id, number)));
    WEIR_RETURN_IF_ERROR(txn.commit());
    return sync_directory(options_.directory);
  }();
  if (!made) {
    file->lmdb.close();
    unlink(path.c_str());
    unlink((path + "-lock").c_str());
    return made;
  }
  files_[number] = std::move(file);
  return {};
}

void DeadLettersImpl::confirm() {
  {
    std::lock_guard lock(mutex_);
    for (const StagedRecord& record : staged_)
      index(staged_file_, record.record, record.value.size());
  }
  const bool changed = !staged_.empty();
  staged_.clear();
  if (changed) reclaim();
}

void DeadLettersImpl::rollback() {
  if (staged_.empty()) return;
  auto undone = [&]() -> Status {
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(staged_file_->lmdb));
    for (const StagedRecord& record : staged_)
      WEIR_RETURN_IF_ERROR(txn.erase(dead_letter_key(record.number)));
    return txn.commit();
  }();
  staged_.clear();
  if (undone) return;
  broken_ = fail(ErrorCode::kIo,
                 "failed events of an update that did not commit could not be taken back ({}); "
                 "restart Weir, it drops them then",
                 undone.error().message);
}

// ---------------------------------------------------------------- giving space back

void DeadLettersImpl::delete_file(std::map<uint64_t, DeadFilePtr>::iterator file) {
  const std::string path = file->second->lmdb.path();
  // Readers may still hold the file; its name can go.
  unlink(path.c_str());
  unlink((path + "-lock").c_str());
  log::info("dead_letters_file_deleted", {{"file", dead_letter_file_name(file->first)}});
  files_.erase(file);
}

// Letters of a nearly empty file are written once more, together with what is appended anyway, so
// that the same commit of state confirms them; the file goes when they are confirmed.
void DeadLettersImpl::stage_moves() {
  if (files_.size() < 2) return;
  DeadFilePtr source;
  for (auto it = files_.begin(); std::next(it) != files_.end() && !source; ++it) {
    const DeadFile& file = *it->second;
    if (file.live > 0 && file.live_bytes * 100 < kMoveBelowPercent * file.lmdb.used_bytes())
      source = it->second;
  }
  if (!source) return;
  std::vector<std::pair<uint64_t, LetterEntry>> live;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : letters_) {
      if (entry.file == source) live.emplace_back(id, entry);
      if (live.size() == kMovesPerAppend) break;
    }
  }
  for (const auto& [id, entry] : live) {
    auto letter = read_letter(entry, id, true);
    if (!letter) continue;
    const DeadLetter copy = *letter;
    stage_contents(id, std::move(*letter));
    if (entry.requeued) stage_status(id, DeadLetterStatus::kRetried, copy, entry.progress);
  }
}

void DeadLettersImpl::reclaim() {
  bool again = true;
  while (again && files_.size() > 1) {
    again = false;
    for (auto it = files_.begin(); std::next(it) != files_.end(); ++it) {
      DeadFile& file = *it->second;
      const bool needed = std::any_of(file.refers.begin(), file.refers.end(),
                                      [&](uint64_t older) { return files_.contains(older); });
      if (file.live > 0 || needed) continue;
      delete_file(it);
      again = true;
      break;
    }
  }
  uint64_t bytes = 0;
  for (const auto& [number, file] : files_) bytes += file_bytes(file->lmdb.path());
  bytes_ = bytes;
}

}  // namespace weir::storage
