#include "storage/dead_letters.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <optional>
#include <tuple>

#include "storage/base/log.h"
#include "storage/dead_letter_format.h"
#include "storage/disk.h"
#include "storage/lmdb_file.h"

namespace weir::storage {
namespace {

#ifdef WEIR_TINY_LIMITS
constexpr uint64_t kFileBytes = 256 << 10;
#else
constexpr uint64_t kFileBytes = uint64_t{64} << 20;
#endif
// A full file with at most this share of live bytes is emptied into the current one, so that one
// letter nobody decides about does not keep thousands of decided ones on disk.
constexpr uint64_t kMoveBelowPercent = 25;
constexpr size_t kMovesPerAppend = 64;

struct DeadFile {
  uint64_t number = 0;
  LmdbFile lmdb;
  uint64_t live = 0;  // letters whose contents are here
  uint64_t live_bytes = 0;
  std::set<uint64_t> refers;  // older files with letters that records here change
};
using FilePtr = std::shared_ptr<DeadFile>;

// One live letter: where its contents are and what it is asked for by.
struct Entry {
  FilePtr file;
  uint64_t record = 0;
  uint32_t bytes = 0;
  Position position;
  uint32_t lane = 0;  // interned texts
  uint32_t tenant = 0;
  uint32_t reason = 0;
  bool requeued = false;
};

class Texts {
 public:
  uint32_t intern(const std::string& text) {
    auto [found, made] = ids_.try_emplace(text, static_cast<uint32_t>(texts_.size()));
    if (made) texts_.push_back(text);
    return found->second;
  }
  const std::string& text(uint32_t id) const { return texts_[id]; }
  std::optional<uint32_t> find(const std::string& text) const {
    auto found = ids_.find(text);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::map<std::string, uint32_t> ids_;
  std::vector<std::string> texts_;
};

struct NewRecord {
  uint64_t number = 0;
  std::string value;
  DeadLetterRecord record;  // without the payload
};

std::string file_name(uint64_t number) { return fmt::format("dead-{}.weir", number); }

// The number in "dead-<n>.weir", or nothing.
std::optional<uint64_t> file_number(std::string_view name) {
  constexpr std::string_view kPrefix = "dead-", kSuffix = ".weir";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  uint64_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

Result<std::vector<uint64_t>> list_files(const std::string& directory) {
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return fail_errno(errno, "cannot list {}", directory);
  std::vector<uint64_t> numbers;
  while (const dirent* entry = readdir(dir))
    if (auto number = file_number(entry->d_name)) numbers.push_back(*number);
  closedir(dir);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// Checks pages and records in a child process; nothing is believed of a file before.
Status check_file(const std::string& path, uint64_t number, bool in_use) {
  std::optional<StoreId> store;
  return check_lmdb_file(
      path,
      [&](std::string_view key, std::string_view value) -> std::string {
        auto record = decode_dead_letter_record(store ? &*store : nullptr, key, value, false);
        if (!record) return "a record's checksum or grammar is wrong";
        if (record->is_header) {
          store = record->store_id;
          if (record->file_number != number)
            return fmt::format("it says it is file {}", record->file_number);
        }
        return {};
      },
      [&]() -> std::string { return store ? "" : "it has no header"; }, in_use);
}

class DeadLettersImpl final : public DeadLetters {
 public:
  DeadLettersImpl(const Options& options, const Clock& clock, MetricRegistry& metrics)
      : options_(options), clock_(clock), metrics_(metrics) {
    if (options_.file_bytes == 0) options_.file_bytes = kFileBytes;
  }

  Status load(uint64_t confirmed);

  Result<std::vector<DeadLetter>> list(const DeadLetterFilter& filter) const override;
  Result<DeadLetter> get(uint64_t id) const override;
  uint64_t size() const override {
    std::lock_guard lock(mutex_);
    return letters_.size();
  }
  std::map<std::pair<std::string, std::string>, uint64_t> counts() const override;
  uint64_t bytes() const override;
  std::vector<StateSnapshot::Failed> failed_at(Position position) const override;
  std::set<uint64_t> numbers(unsigned shard, uint64_t first, uint64_t last) const override;
  std::vector<StateSnapshot::Failed> failed() const override;

  Result<Effect> append(const LaneUpdate& update) override;
  void confirm() override;
  void rollback() override;
  uint64_t mark() const override { return next_record_ - 1; }

 private:
  using LaneAt = std::tuple<uint16_t, uint64_t, uint32_t>;  // shard, number, lane

  Status load_file(uint64_t number, uint64_t confirmed);
  void set_file_aside(uint64_t number, const Error& error);
  void index(const FilePtr& file, const DeadLetterRecord& record, size_t bytes);
  void remove(uint64_t id);
  void count(const Entry& entry, int64_t by);
  Result<DeadLetter> read_letter(const Entry& entry, uint64_t id, bool with_payload) const;
  Status stage(const LaneUpdate& update, Effect* effect);
  void stage_moves();
  Status stage_letters(const LaneUpdate& update, Effect* effect);
  Status stage_change(const LaneUpdate& update, const LaneUpdate::DeadLetterChange& change,
                      Effect* effect);
  void stage_contents(uint64_t id, DeadLetter letter);
  void stage_status(uint64_t id, DeadLetterStatus status, const DeadLetter& letter);
  Status write_staged();
  Status write_to(DeadFile& file);
  Status new_file(uint64_t at_least);
  void reclaim();
  void delete_file(std::map<uint64_t, FilePtr>::iterator file);

  Options options_;
  const Clock& clock_;
  MetricRegistry& metrics_;

  // State thread only.
  std::map<uint64_t, FilePtr> files_;
  FilePtr staged_file_;
  std::vector<NewRecord> staged_;
  uint64_t next_record_ = 1;
  Status broken_;  // after a failed sync or a failed rollback: nothing is appended any more

  mutable std::mutex mutex_;  // what follows
  std::map<uint64_t, Entry> letters_;
  std::map<LaneAt, uint64_t> by_position_;
  Texts texts_;
  std::map<std::pair<uint32_t, uint32_t>, int64_t> counts_;  // lane, reason
  std::map<std::pair<uint32_t, uint32_t>, Gauge*> gauges_;
  std::atomic<uint64_t> bytes_{0};
};

// ---------------------------------------------------------------- start

Status DeadLettersImpl::load(uint64_t confirmed) {
  WEIR_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers, list_files(options_.directory));
  for (uint64_t number : numbers) {
    const std::string path = options_.directory + "/" + file_name(number);
    auto loaded = sync_and_drop_cache(path);
    if (loaded) loaded = check_file(path, number, /*in_use=*/false);
    if (loaded) loaded = load_file(number, confirmed);
    if (loaded) continue;
    if (loaded.error().code != ErrorCode::kCorrupt) return loaded;
    set_file_aside(number, loaded.error());
  }
  if (confirmed != kKeepAll) next_record_ = std::max(next_record_, confirmed + 1);
  reclaim();
  return {};
}

void DeadLettersImpl::set_file_aside(uint64_t number, const Error& error) {
  const std::string name = file_name(number);
  files_.erase(number);
  unlink((options_.directory + "/" + name + "-lock").c_str());
  auto moved = set_aside(options_.directory, name, clock_.wall_ms());
  metrics_.counter(Metric::kDamagedSegments, {"dead_letters"}).add();
  log::error("dead_letters_damaged",
             {{"file", name},
              {"error", error.message},
              {"moved_to", moved ? *moved : moved.error().message},
              {"meaning", "the failed events in it are no longer listed; the rest goes on"}});
}

Status DeadLettersImpl::load_file(uint64_t number, uint64_t confirmed) {
  auto file = std::make_shared<DeadFile>();
  file->number = number;
  LmdbFile::Options options;
  options.map_bytes = options_.file_bytes;
  WEIR_ASSIGN_OR_RETURN(file->lmdb,
                        LmdbFile::open(options_.directory + "/" + file_name(number), options));
  std::vector<std::string> unconfirmed;
  std::vector<std::pair<DeadLetterRecord, size_t>> records;
  bool foreign = false;
  {
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::read(file->lmdb));
    WEIR_RETURN_IF_ERROR(txn.scan({}, [&](std::string_view key, std::string_view value) {
      auto record = decode_dead_letter_record(&options_.store_id, key, value, false);
      foreign = !record || (record->is_header && record->store_id != options_.store_id);
      if (foreign) return false;
      if (record->is_header) return true;
      if (record->number > confirmed)
        unconfirmed.emplace_back(key);
      else
        records.emplace_back(std::move(*record), value.size());
      return true;
    }));
  }
  if (foreign) return fail(ErrorCode::kCorrupt, "{} belongs to another store", file->lmdb.path());
  if (!unconfirmed.empty()) {
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(file->lmdb));
    for (const std::string& key : unconfirmed) WEIR_RETURN_IF_ERROR(txn.erase(key));
    WEIR_RETURN_IF_ERROR(txn.commit());
    log::info("dead_letters_unconfirmed_dropped",
              {{"file", file_name(number)}, {"records", unconfirmed.size()}});
  }
  files_[number] = file;
  bytes_ += file_bytes(file->lmdb.path());
  std::lock_guard lock(mutex_);
  for (const auto& [record, bytes] : records) index(file, record, bytes);
  return {};
}

// ---------------------------------------------------------------- index (under mutex_)

void DeadLettersImpl::count(const Entry& entry, int64_t by) {
  const std::pair key{entry.lane, entry.reason};
  counts_[key] += by;
  Gauge*& gauge = gauges_[key];
  if (gauge == nullptr)
    gauge =
        &metrics_.gauge(Metric::kDeadLetters, {texts_.text(entry.lane), texts_.text(entry.reason)});
  gauge->set(counts_[key]);
}

void DeadLettersImpl::remove(uint64_t id) {
  auto found = letters_.find(id);
  if (found == letters_.end()) return;
  const Entry& entry = found->second;
  entry.file->live -= 1;
  entry.file->live_bytes -= entry.bytes;
  by_position_.erase({entry.position.shard, entry.position.number, entry.lane});
  count(entry, -1);
  letters_.erase(found);
}

void DeadLettersImpl::index(const FilePtr& file, const DeadLetterRecord& record, size_t bytes) {
  next_record_ = std::max(next_record_, record.number + 1);
  auto found = letters_.find(record.letter_id);
  if (found != letters_.end() && found->second.file != file)
    file->refers.insert(found->second.file->number);
  if (!record.is_contents) {
    if (record.status != DeadLetterStatus::kRequeued)
      remove(record.letter_id);
    else if (found != letters_.end())
      found->second.requeued = true;
    return;
  }
  remove(record.letter_id);
  const DeadLetter& letter = record.letter;
  Entry entry;
  entry.file = file;
  entry.record = record.number;
  entry.bytes = static_cast<uint32_t>(bytes);
  entry.position = letter.position;
  entry.lane = texts_.intern(letter.lane);
  entry.tenant = texts_.intern(letter.tenant);
  entry.reason = texts_.intern(letter.reason);
  entry.requeued = letter.requeued;
  // Invariant 1, also where a damaged file took the record that said so with it.
  const LaneAt at{entry.position.shard, entry.position.number, entry.lane};
  if (auto other = by_position_.find(at); other != by_position_.end()) {
    const uint64_t other_id = other->second;
    remove(other_id);
  }
  file->live += 1;
  file->live_bytes += bytes;
  by_position_[at] = record.letter_id;
  count(entry, 1);
  letters_[record.letter_id] = std::move(entry);
}

// ---------------------------------------------------------------- reading

Result<DeadLetter> DeadLettersImpl::read_letter(const Entry& entry, uint64_t id,
                                                bool with_payload) const {
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::read(entry.file->lmdb));
  const std::string key = dead_letter_key(entry.record);
  WEIR_ASSIGN_OR_RETURN(const std::string_view value, txn.get(key));
  auto record = decode_dead_letter_record(&options_.store_id, key, value, with_payload);
  if (!record || record->letter_id != id)
    return fail(ErrorCode::kCorrupt, "failed event {} in {} is damaged", id,
                entry.file->lmdb.path());
  record->letter.requeued = entry.requeued;
  return std::move(record->letter);
}

Result<std::vector<DeadLetter>> DeadLettersImpl::list(const DeadLetterFilter& filter) const {
  std::vector<std::pair<uint64_t, Entry>> wanted;
  {
    std::lock_guard lock(mutex_);
    const auto lane = texts_.find(filter.lane);
    const auto reason = texts_.find(filter.reason);
    const auto tenant = texts_.find(filter.tenant);
    for (auto it = letters_.upper_bound(filter.after_id);
         it != letters_.end() && wanted.size() < filter.limit; ++it) {
      const Entry& entry = it->second;
      if (!filter.lane.empty() && lane != entry.lane) continue;
      if (!filter.reason.empty() && reason != entry.reason) continue;
      if (!filter.tenant.empty() && tenant != entry.tenant) continue;
      wanted.emplace_back(it->first, entry);
    }
  }
  std::vector<DeadLetter> letters;
  for (const auto& [id, entry] : wanted) {
    WEIR_ASSIGN_OR_RETURN(auto letter, read_letter(entry, id, filter.with_payload));
    letters.push_back(std::move(letter));
  }
  return letters;
}

Result<DeadLetter> DeadLettersImpl::get(uint64_t id) const {
  Entry entry;
  {
    std::lock_guard lock(mutex_);
    auto found = letters_.find(id);
    if (found == letters_.end())
      return fail(ErrorCode::kNotFound, "there is no failed event {}", id);
    entry = found->second;
  }
  return read_letter(entry, id, true);
}

std::map<std::pair<std::string, std::string>, uint64_t> DeadLettersImpl::counts() const {
  std::lock_guard lock(mutex_);
  std::map<std::pair<std::string, std::string>, uint64_t> counts;
  for (const auto& [key, count] : counts_)
    if (count > 0)
      counts[{texts_.text(key.first), texts_.text(key.second)}] = static_cast<uint64_t>(count);
  return counts;
}

uint64_t DeadLettersImpl::bytes() const { return bytes_.load(std::memory_order_relaxed); }

std::vector<StateSnapshot::Failed> DeadLettersImpl::failed_at(Position position) const {
  std::lock_guard lock(mutex_);
  std::vector<StateSnapshot::Failed> failed;
  for (auto it = by_position_.lower_bound({position.shard, position.number, 0});
       it != by_position_.end() && std::get<0>(it->first) == position.shard &&
       std::get<1>(it->first) == position.number;
       ++it) {
    const Entry& entry = letters_.find(it->second)->second;
    failed.push_back({texts_.text(entry.lane), texts_.text(entry.tenant), position});
  }
  return failed;
}

std::set<uint64_t> DeadLettersImpl::numbers(unsigned shard, uint64_t first, uint64_t last) const {
  std::lock_guard lock(mutex_);
  std::set<uint64_t> numbers;
  for (auto it = by_position_.lower_bound({static_cast<uint16_t>(shard), first, 0});
       it != by_position_.end() && std::get<0>(it->first) == shard &&
       std::get<1>(it->first) <= last;
       ++it)
    numbers.insert(std::get<1>(it->first));
  return numbers;
}

std::vector<StateSnapshot::Failed> DeadLettersImpl::failed() const {
  std::lock_guard lock(mutex_);
  std::vector<StateSnapshot::Failed> failed;
  failed.reserve(letters_.size());
  for (const auto& [id, entry] : letters_)
    failed.push_back({texts_.text(entry.lane), texts_.text(entry.tenant), entry.position});
  return failed;
}

// ---------------------------------------------------------------- appending

void DeadLettersImpl::stage_contents(uint64_t id, DeadLetter letter) {
  NewRecord record;
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

void DeadLettersImpl::stage_status(uint64_t id, DeadLetterStatus status, const DeadLetter& letter) {
  NewRecord record;
  record.number = next_record_++;
  record.value = encode_dead_letter_status(options_.store_id, record.number, id, status);
  record.record.number = record.number;
  record.record.letter_id = id;
  record.record.status = status;
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
    const Entry& entry = found->second;
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
      stage_status(change.id, DeadLetterStatus::kRequeued, letter);
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
  for (const NewRecord& record : staged_) bytes += record.value.size() + 64;
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
  for (const NewRecord& record : staged_)
    WEIR_RETURN_IF_ERROR(txn.append(dead_letter_key(record.number), record.value));
  return txn.commit();
}

Status DeadLettersImpl::new_file(uint64_t at_least) {
  const uint64_t number = files_.empty() ? 1 : files_.rbegin()->first + 1;
  const std::string name = file_name(number);
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
    for (const NewRecord& record : staged_) index(staged_file_, record.record, record.value.size());
  }
  const bool changed = !staged_.empty();
  staged_.clear();
  if (changed) reclaim();
}

void DeadLettersImpl::rollback() {
  if (staged_.empty()) return;
  auto undone = [&]() -> Status {
    WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(staged_file_->lmdb));
    for (const NewRecord& record : staged_)
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

void DeadLettersImpl::delete_file(std::map<uint64_t, FilePtr>::iterator file) {
  const std::string path = file->second->lmdb.path();
  // Readers may still hold the file; its name can go.
  unlink(path.c_str());
  unlink((path + "-lock").c_str());
  log::info("dead_letters_file_deleted", {{"file", file_name(file->first)}});
  files_.erase(file);
}

// Letters of a nearly empty file are written once more, together with what is appended anyway, so
// that the same commit of state confirms them; the file goes when they are confirmed.
void DeadLettersImpl::stage_moves() {
  if (files_.size() < 2) return;
  FilePtr source;
  for (auto it = files_.begin(); std::next(it) != files_.end() && !source; ++it) {
    const DeadFile& file = *it->second;
    if (file.live > 0 && file.live_bytes * 100 < kMoveBelowPercent * file.lmdb.used_bytes())
      source = it->second;
  }
  if (!source) return;
  std::vector<std::pair<uint64_t, Entry>> live;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : letters_) {
      if (entry.file == source) live.emplace_back(id, entry);
      if (live.size() == kMovesPerAppend) break;
    }
  }
  for (const auto& [id, entry] : live)
    if (auto letter = read_letter(entry, id, true)) stage_contents(id, std::move(*letter));
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

}  // namespace

Result<std::unique_ptr<DeadLetters>> DeadLetters::open(const Options& options, uint64_t confirmed,
                                                       const Clock& clock,
                                                       MetricRegistry& metrics) {
  auto letters = std::make_unique<DeadLettersImpl>(options, clock, metrics);
  WEIR_RETURN_IF_ERROR(letters->load(confirmed));
  return std::unique_ptr<DeadLetters>(std::move(letters));
}

DeadLetterInspection inspect_dead_letters(const std::string& directory) {
  DeadLetterInspection result;
  auto numbers = list_files(directory);
  if (!numbers) {
    result.problems.push_back(numbers.error().message);
    return result;
  }
  const bool in_use = directory_in_use(directory);
  std::set<uint64_t> live;
  for (uint64_t number : *numbers) {
    const std::string path = directory + "/" + file_name(number);
    ++result.files;
    if (auto checked = check_file(path, number, in_use); !checked) {
      result.problems.push_back(checked.error().message);
      continue;
    }
    LmdbFile::Options options;
    options.read_only = true;
    auto file = LmdbFile::open(path, options);
    auto txn = file ? LmdbTxn::read(*file) : tl::unexpected(file.error());
    if (!txn) {
      result.problems.push_back(txn.error().message);
      continue;
    }
    std::optional<StoreId> store;
    auto scanned = txn->scan({}, [&](std::string_view key, std::string_view value) {
      auto record = decode_dead_letter_record(store ? &*store : nullptr, key, value, false);
      if (!record) return false;
      if (record->is_header) {
        store = record->store_id;
        return true;
      }
      ++result.records;
      if (record->is_contents)
        live.insert(record->letter_id);
      else if (record->status != DeadLetterStatus::kRequeued)
        live.erase(record->letter_id);
      return true;
    });
    if (!scanned) result.problems.push_back(scanned.error().message);
  }
  result.letters = live.size();
  return result;
}

}  // namespace weir::storage
