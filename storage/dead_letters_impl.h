// The DeadLetters behind dead_letters.h. dead_letters.cc opens, indexes and reads; the rest, on the
// state thread, is in dead_letters_append.cc.
// Path: cold.  Thread: as said at each group of members.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "storage/dead_letter_format.h"
#include "storage/dead_letters.h"
#include "storage/lmdb_file.h"

namespace weir::storage {

std::string dead_letter_file_name(uint64_t number);  // "dead-<n>.weir"

struct DeadFile {
  uint64_t number = 0;
  LmdbFile lmdb;
  uint64_t live = 0;  // letters whose contents are here
  uint64_t live_bytes = 0;
  std::set<uint64_t> refers;  // older files with letters that records here change
};
using DeadFilePtr = std::shared_ptr<DeadFile>;

// One live letter: where its contents are and what it is asked for by.
struct LetterEntry {
  DeadFilePtr file;
  uint64_t record = 0;
  uint32_t bytes = 0;
  Position position;
  uint32_t lane = 0;  // interned texts
  uint32_t tenant = 0;
  uint32_t reason = 0;
  bool requeued = false;
  RequeueProgress progress;
  int64_t failed_ms = 0;
  uint64_t name_hash = 0;
  uint64_t event_hash = 0;  // of the event's id
};

class TextTable {
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

struct StagedRecord {
  uint64_t number = 0;
  std::string value;
  DeadLetterRecord record;  // without the payload
};
#ifdef WEIR_TINY_LIMITS
constexpr uint64_t kDefaultFileBytes = 256 << 10;
#else
constexpr uint64_t kDefaultFileBytes = uint64_t{64} << 20;
#endif

class DeadLettersImpl final : public DeadLetters {
 public:
  DeadLettersImpl(const Options& options, const Clock& clock, MetricRegistry& metrics)
      : options_(options), clock_(clock), metrics_(metrics) {
    if (options_.file_bytes == 0) options_.file_bytes = kDefaultFileBytes;
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
  std::set<uint64_t> numbers(unsigned shard, uint64_t first, uint64_t last,
                             std::string_view lane) const override;
  std::vector<StateSnapshot::Failed> failed() const override;

  Result<Effect> append(const LaneUpdate& update) override;
  void confirm() override;
  void rollback() override;
  uint64_t mark() const override { return next_record_ - 1; }

 private:
  using LaneAt = std::tuple<uint16_t, uint64_t, uint32_t>;  // shard, number, lane

  Status load_file(uint64_t number, uint64_t confirmed);
  void set_file_aside(uint64_t number, const Error& error);
  void index(const DeadFilePtr& file, const DeadLetterRecord& record, size_t bytes);
  void remove(uint64_t id);
  void count(const LetterEntry& entry, int64_t by);
  Result<DeadLetter> read_letter(const LetterEntry& entry, uint64_t id, bool with_payload) const;
  Status stage(const LaneUpdate& update, Effect* effect);
  void stage_moves();
  Status stage_letters(const LaneUpdate& update, Effect* effect);
  Status stage_change(const LaneUpdate& update, const LaneUpdate::DeadLetterChange& change,
                      Effect* effect);
  void stage_contents(uint64_t id, DeadLetter letter);
  void stage_status(uint64_t id, DeadLetterStatus status, const DeadLetter& letter,
                    const RequeueProgress& progress = {});
  Status write_staged();
  Status write_to(DeadFile& file);
  Status new_file(uint64_t at_least);
  void reclaim();
  void delete_file(std::map<uint64_t, DeadFilePtr>::iterator file);

  Options options_;
  const Clock& clock_;
  MetricRegistry& metrics_;

  // State thread only.
  std::map<uint64_t, DeadFilePtr> files_;
  DeadFilePtr staged_file_;
  std::vector<StagedRecord> staged_;
  uint64_t next_record_ = 1;
  Status broken_;  // after a failed sync or a failed rollback: nothing is appended any more

  mutable std::mutex mutex_;  // what follows
  std::map<uint64_t, LetterEntry> letters_;
  std::map<LaneAt, uint64_t> by_position_;
  TextTable texts_;
  std::map<std::pair<uint32_t, uint32_t>, int64_t> counts_;  // lane, reason
  std::map<std::pair<uint32_t, uint32_t>, Gauge*> gauges_;
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace weir::storage
