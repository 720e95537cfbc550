#include "storage/dead_letters.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "storage/base/hash.h"
#include "storage/base/log.h"
#include "storage/dead_letters_impl.h"
#include "storage/disk.h"

namespace weir::storage {
namespace {

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

}  // namespace

std::string dead_letter_file_name(uint64_t number) { return fmt::format("dead-{}.weir", number); }

// ---------------------------------------------------------------- start

Status DeadLettersImpl::load(uint64_t confirmed) {
  WEIR_ASSIGN_OR_RETURN(const std::vector<uint64_t> numbers, list_files(options_.directory));
  for (uint64_t number : numbers) {
    const std::string path = options_.directory + "/" + dead_letter_file_name(number);
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
  const std::string name = dead_letter_file_name(number);
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
  WEIR_ASSIGN_OR_RETURN(
      file->lmdb,
      LmdbFile::open(options_.directory + "/" + dead_letter_file_name(number), options));
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
              {{"file", dead_letter_file_name(number)}, {"records", unconfirmed.size()}});
  }
  files_[number] = file;
  bytes_ += file_bytes(file->lmdb.path());
  std::lock_guard lock(mutex_);
  for (const auto& [record, bytes] : records) index(file, record, bytes);
  return {};
}

// ---------------------------------------------------------------- index (under mutex_)

void DeadLettersImpl::count(const LetterEntry& entry, int64_t by) {
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
  const LetterEntry& entry = found->second;
  entry.file->live -= 1;
  entry.file->live_bytes -= entry.bytes;
  by_position_.erase({entry.position.shard, entry.position.number, entry.lane});
  count(entry, -1);
  letters_.erase(found);
}

void DeadLettersImpl::index(const DeadFilePtr& file, const DeadLetterRecord& record, size_t bytes) {
  next_record_ = std::max(next_record_, record.number + 1);
  auto found = letters_.find(record.letter_id);
  if (found != letters_.end() && found->second.file != file)
    file->refers.insert(found->second.file->number);
  if (!record.is_contents) {
    const bool decided =
        record.status == DeadLetterStatus::kSent || record.status == DeadLetterStatus::kDiscarded;
    if (decided) {
      remove(record.letter_id);
    } else if (found != letters_.end()) {
      found->second.requeued = true;
      found->second.progress = record.progress;
    }
    return;
  }
  remove(record.letter_id);
  const DeadLetter& letter = record.letter;
  LetterEntry entry;
  entry.file = file;
  entry.record = record.number;
  entry.bytes = static_cast<uint32_t>(bytes);
  entry.position = letter.position;
  entry.lane = texts_.intern(letter.lane);
  entry.tenant = texts_.intern(letter.tenant);
  entry.reason = texts_.intern(letter.reason);
  entry.requeued = letter.requeued;
  entry.failed_ms = letter.failed_ms;
  entry.name_hash = hash64(letter.event_name);
  entry.event_hash = hash64(letter.event_id);
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

Result<DeadLetter> DeadLettersImpl::read_letter(const LetterEntry& entry, uint64_t id,
                                                bool with_payload) const {
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::read(entry.file->lmdb));
  const std::string key = dead_letter_key(entry.record);
  WEIR_ASSIGN_OR_RETURN(const std::string_view value, txn.get(key));
  auto record = decode_dead_letter_record(&options_.store_id, key, value, with_payload);
  if (!record || record->letter_id != id)
    return fail(ErrorCode::kCorrupt, "failed event {} in {} is damaged", id,
                entry.file->lmdb.path());
  record->letter.requeued = entry.requeued;
  record->letter.requeue_attempts = entry.progress.attempts;
  record->letter.requeued_ms = entry.progress.since_ms;
  return std::move(record->letter);
}

Result<std::vector<DeadLetter>> DeadLettersImpl::list(const DeadLetterFilter& filter) const {
  std::vector<std::pair<uint64_t, LetterEntry>> wanted;
  {
    std::lock_guard lock(mutex_);
    const auto lane = texts_.find(filter.lane);
    const auto reason = texts_.find(filter.reason);
    const auto tenant = texts_.find(filter.tenant);
    for (auto it = letters_.upper_bound(filter.after_id);
         it != letters_.end() && wanted.size() < filter.limit; ++it) {
      const LetterEntry& entry = it->second;
      if (!filter.lane.empty() && lane != entry.lane) continue;
      if (!filter.reason.empty() && reason != entry.reason) continue;
      if (!filter.tenant.empty() && tenant != entry.tenant) continue;
      if (!filter.name.empty() && entry.name_hash != hash64(filter.name)) continue;
      if (!filter.event_id.empty() && entry.event_hash != hash64(filter.event_id)) continue;
      if (entry.failed_ms < filter.since_ms || entry.failed_ms >= filter.until_ms) continue;
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
  LetterEntry entry;
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
    const LetterEntry& entry = letters_.find(it->second)->second;
    failed.push_back({texts_.text(entry.lane), texts_.text(entry.tenant), position});
  }
  return failed;
}

std::set<uint64_t> DeadLettersImpl::numbers(unsigned shard, uint64_t first, uint64_t last,
                                            std::string_view lane) const {
  std::lock_guard lock(mutex_);
  std::set<uint64_t> numbers;
  for (auto it = by_position_.lower_bound({static_cast<uint16_t>(shard), first, 0});
       it != by_position_.end() && std::get<0>(it->first) == shard &&
       std::get<1>(it->first) <= last;
       ++it)
    if (lane.empty() || texts_.text(std::get<2>(it->first)) == lane)
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
    const std::string path = directory + "/" + dead_letter_file_name(number);
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
      else if (record->status == DeadLetterStatus::kSent ||
               record->status == DeadLetterStatus::kDiscarded)
        live.erase(record->letter_id);
      return true;
    });
    if (!scanned) result.problems.push_back(scanned.error().message);
  }
  result.letters = live.size();
  return result;
}

}  // namespace weir::storage
