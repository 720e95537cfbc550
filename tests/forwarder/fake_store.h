// An in-memory Store with the semantics the forwarder relies on, and switches the real one cannot
// have: marks that are held back, marks that fail, a crash that loses what was not applied.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/event_record.h"
#include "storage/base/wakeup.h"
#include "storage/store.h"

namespace weir::forwarder::testing {

struct TestEvent {
  std::string id = {};
  std::string name = "page_view";
  std::string tenant = "acme";
  std::string source = "native";
  std::string raw = R"({"name":"page_view"})";
  bool sandbox = false;
};

inline std::string make_payload(const TestEvent& event) {
  EventFields fields;
  fields.id = event.id;
  fields.name = event.name;
  fields.tenant = event.tenant;
  fields.source = event.source;
  fields.sandbox = event.sandbox;
  std::string payload;
  append_event_head(payload, fields);
  return payload + event.raw;
}

// What is on disk. Copied out of a store to open the next one after a "crash".
struct FakeDisk {
  StoreId id = StoreId::generate();
  struct Record {
    int64_t received_ms = 0;
    std::string payload;
  };
  std::vector<std::map<uint64_t, Record>> shards{1};
  std::vector<uint64_t> ends{1};
  std::map<std::string, storage::LaneState, std::less<>> lanes;
  std::map<uint64_t, storage::DeadLetter> letters;
  std::vector<storage::DeliveryRow> deliveries;
  std::vector<storage::ExpiredRange> expired;
  uint64_t next_batch = 1;
  uint64_t next_letter = 1;
};

class FakeStore : public storage::Store {
 public:
  FakeStore() = default;
  explicit FakeStore(FakeDisk disk) : disk_(std::move(disk)) {}
  ~FakeStore() override { WEIR_CHECK(held_.empty(), "marks were lost"); }

  // ---- what tests do
  uint64_t append(const std::string& payload, int64_t received_ms = 1'700'000'000'000,
                  unsigned shard = 0) {
    uint64_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = disk_.ends[shard]++;
      disk_.shards[shard][number] = {received_ms, payload};
    }
    commit();
    return number;
  }
  void append_many(size_t count, const std::string& prefix, TestEvent event = {},
                   unsigned shard = 0) {
    {
      const std::lock_guard lock(mutex_);
      for (size_t i = 0; i < count; ++i) {
        event.id = prefix + std::to_string(i);
        disk_.shards[shard][disk_.ends[shard]++] = {1'700'000'000'000, make_payload(event)};
      }
    }
    commit();
  }
  void add_shard() {
    disk_.shards.emplace_back();
    disk_.ends.push_back(1);
  }
  void add_lane(const std::string& name) {
    const std::lock_guard lock(mutex_);
    storage::LaneState& lane = disk_.lanes[name];
    lane.name = name;
    lane.shards.resize(disk_.shards.size());
  }
  void add_lane_if_missing(const std::string& name) {
    if (!lane(name)) add_lane(name);
  }
  void lose(uint64_t first, uint64_t last, unsigned shard = 0) {
    const std::lock_guard lock(mutex_);
    for (uint64_t number = first; number <= last; ++number) disk_.shards[shard].erase(number);
  }
  void hold_marks(bool hold) {
    std::unique_lock lock(mutex_);
    hold_ = hold;
    if (hold) return;
    while (!held_.empty()) {
      const Held held = held_.front();
      held_.pop_front();
      apply(held);
    }
  }
  void fail_marks(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    mark_error_ = std::move(error);
  }
  void fail_reads(std::optional<Error> error) {
    const std::lock_guard lock(mutex_);
    read_error_ = std::move(error);
  }
  // Returned with every mark from now on, as drop_oldest does.
  void set_floor(uint16_t shard, uint64_t floor) {
    const std::lock_guard lock(mutex_);
    floors_ = {{shard, floor}};
    for (auto& [name, lane] : disk_.lanes) {
      lane.shards[shard].floor = floor;
      lane.shards[shard].frontier = std::max(lane.shards[shard].frontier, floor);
      std::erase_if(lane.shards[shard].open,
                    [&](const auto& open) { return open.second.last < floor; });
    }
  }
  void requeue(uint64_t letter) {
    const std::lock_guard lock(mutex_);
    disk_.letters.at(letter).requeued = true;
  }
  void edit(uint64_t letter, const std::string& payload) {
    const std::lock_guard lock(mutex_);
    disk_.letters.at(letter).payload = payload;
  }
  void discard(uint64_t letter) {
    const std::lock_guard lock(mutex_);
    disk_.letters.erase(letter);
  }
  // What requeueing an expired range does.
  void reopen(const std::string& lane, const storage::OpenRange& range) {
    const std::lock_guard lock(mutex_);
    disk_.lanes.at(lane).shards.at(range.shard).open[range.number] = range;
  }
  // What a kill -9 leaves: everything applied, nothing that was held.
  FakeDisk disk() const {
    const std::lock_guard lock(mutex_);
    return disk_;
  }
  size_t reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }
  void drop_held() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }

  // ---- Store
  void stop() override {}
  const StoreId& id() const override { return disk_.id; }
  const DedupeSecret& dedupe_secret() const override { return secret_; }
  unsigned shards() const override { return static_cast<unsigned>(disk_.shards.size()); }
  std::string admission_detail() const override { return {}; }
  std::unique_ptr<storage::Appender> make_appender(Wakeup&) override { return nullptr; }
  storage::ShardStatus shard_status(unsigned shard) const override {
    const std::lock_guard lock(mutex_);
    storage::ShardStatus status;
    status.end = disk_.ends[shard];
    status.first = disk_.shards[shard].empty() ? status.end : disk_.shards[shard].begin()->first;
    return status;
  }
  uint64_t committed_end(unsigned shard) const override {
    const std::lock_guard lock(mutex_);
    return disk_.ends[shard];
  }
  Result<storage::ReadResult> read(unsigned shard, uint64_t from, const storage::ReadLimits& limits,
                                   FunctionRef<bool(const storage::StoredEvent&)> visit) override {
    const std::lock_guard lock(mutex_);
    ++reads_;
    if (read_error_) return tl::unexpected(*read_error_);
    storage::ReadResult result;
    result.next = from;
    const auto& records = disk_.shards[shard];
    const uint64_t end = std::min(disk_.ends[shard],
                                  limits.last == UINT64_MAX ? disk_.ends[shard] : limits.last + 1);
    while (result.next < end) {
      if (result.events > 0 &&
          (result.events >= limits.max_events || result.bytes >= limits.max_bytes))
        return result;
      const auto found = records.find(result.next);
      if (found == records.end()) {
        ++result.missing;
        ++result.next;
        continue;
      }
      ++result.events;
      result.bytes += found->second.payload.size();
      storage::StoredEvent event;
      event.position = {static_cast<uint16_t>(shard), result.next};
      event.received_ms = found->second.received_ms;
      event.payload = found->second.payload;
      ++result.next;
      if (!visit(event)) return result;
    }
    result.at_end = result.next >= disk_.ends[shard];
    return result;
  }
  Result<std::optional<Position>> find(std::string_view, std::string_view) override {
    return std::nullopt;
  }
  Result<storage::EventPlace> place(Position) const override { return storage::EventPlace{}; }
  std::string pressure_detail() const override { return {}; }
  unsigned append_queue_percent() const override { return 0; }
  void set_draining(bool) override {}
  Status configure_lanes(const std::vector<storage::LaneOptions>& lanes) override {
    for (const storage::LaneOptions& lane : lanes) add_lane_if_missing(lane.name);
    return {};
  }
  // As the real one: the rows go, their ranges are open again.
  Result<uint64_t> requeue_expired(std::string_view name,
                                   const std::vector<storage::ExpiredRange>& ranges) override {
    const std::lock_guard lock(mutex_);
    uint64_t events = 0;
    for (const storage::ExpiredRange& range : ranges) {
      open_again(name, {range.shard, range.first, range.last});
      events += range.events;
    }
    disk_.expired.clear();
    return events;
  }
  // Everything finished of the ranges, without a look at what failed.
  Result<storage::Replayed> replay(std::string_view name,
                                   const std::vector<storage::ReplayRange>& ranges) override {
    const std::lock_guard lock(mutex_);
    storage::Replayed replayed;
    for (const storage::ReplayRange& range : ranges) {
      open_again(name, range);
      replayed.events += range.last - range.first + 1;
    }
    return replayed;
  }
  void subscribe(Wakeup& wakeup) override {
    const std::lock_guard lock(mutex_);
    subscribers_.push_back(&wakeup);
  }
  void unsubscribe(Wakeup& wakeup) override {
    const std::lock_guard lock(mutex_);
    std::erase(subscribers_, &wakeup);
  }
  uint64_t next_batch_number() override {
    const std::lock_guard lock(mutex_);
    return disk_.next_batch++;
  }
  std::string batch_id(uint64_t number) const override {
    return fmt::format("{}-{:x}", disk_.id.text(), number);
  }
  Result<storage::LaneState> lane(std::string_view name) const override {
    const std::lock_guard lock(mutex_);
    const auto found = disk_.lanes.find(name);
    if (found == disk_.lanes.end()) return fail(ErrorCode::kNotFound, "no lane {}", name);
    return found->second;
  }
  std::vector<storage::LaneState> lanes() const override {
    const std::lock_guard lock(mutex_);
    std::vector<storage::LaneState> lanes;
    for (const auto& [name, lane] : disk_.lanes) lanes.push_back(lane);
    return lanes;
  }
  std::unique_ptr<storage::LaneClient> make_lane_client(Wakeup& wakeup) override {
    return std::make_unique<Client>(*this, wakeup);
  }
  Status create_lane(const storage::LaneOptions& options) override {
    if (lane(options.name))
      return fail(ErrorCode::kAlreadyExists, "there is a lane {} already", options.name);
    add_lane(options.name);
    const std::lock_guard lock(mutex_);
    storage::LaneState& made = disk_.lanes[options.name];
    made.kind = options.kind;
    made.max_idle_ms = options.max_idle_ms;
    made.note = options.note;
    for (size_t i = 0; i < made.shards.size() && options.from_latest; ++i)
      made.shards[i].frontier = disk_.ends[i];
    return {};
  }
  Status delete_lane(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    const auto found = disk_.lanes.find(name);
    if (found == disk_.lanes.end()) return fail(ErrorCode::kNotFound, "no lane {}", name);
    disk_.lanes.erase(found);
    return {};
  }
  int64_t oldest_pending_ms(std::string_view) const override { return 0; }
  storage::StoreTotals totals() const override { return {}; }
  Result<storage::FreshCounts> fresh_counts() override { return storage::FreshCounts{}; }
  Result<std::vector<storage::DeadLetter>> dead_letters(
      const storage::DeadLetterFilter& filter) override {
    const std::lock_guard lock(mutex_);
    std::vector<storage::DeadLetter> out;
    for (const auto& [number, letter] : disk_.letters)
      if (number > filter.after_id && letter.lane == filter.lane && out.size() < filter.limit)
        out.push_back(letter);
    return out;
  }
  Result<storage::DeadLetter> dead_letter(uint64_t number) override {
    const std::lock_guard lock(mutex_);
    const auto found = disk_.letters.find(number);
    if (found == disk_.letters.end()) return fail(ErrorCode::kNotFound, "no letter {}", number);
    return found->second;
  }
  Result<std::vector<storage::DeliveryRow>> deliveries(std::string_view, Position) override {
    return disk().deliveries;
  }
  Result<std::vector<storage::ExpiredRange>> expired(std::string_view) override {
    return disk().expired;
  }

 private:
  class Client : public storage::LaneClient {
   public:
    Client(FakeStore& store, Wakeup& wakeup) : store_(store), wakeup_(wakeup) {}
    void submit(storage::LaneUpdate& update) override {
      const std::lock_guard lock(store_.mutex_);
      if (store_.hold_)
        store_.held_.push_back({this, &update});
      else
        store_.apply({this, &update});
    }
    storage::LaneUpdate* take_outcomes() override {
      const std::lock_guard lock(store_.mutex_);
      storage::LaneUpdate* chain = first_;
      first_ = last_ = nullptr;
      return chain;
    }
    void give_back(storage::LaneUpdate& update) {
      update.next = nullptr;
      (last_ == nullptr ? first_ : last_->next) = &update;
      last_ = &update;
      wakeup_.notify();
    }

   private:
    FakeStore& store_;
    Wakeup& wakeup_;
    storage::LaneUpdate* first_ = nullptr;
    storage::LaneUpdate* last_ = nullptr;
  };
  struct Held {
    Client* client;
    storage::LaneUpdate* update;
  };

  // REQUIRES: mutex_ is held.
  void open_again(std::string_view lane, const storage::ReplayRange& numbers) {
    storage::OpenRange open;
    open.number = disk_.next_batch++;
    open.shard = numbers.shard;
    open.first = numbers.first;
    open.last = numbers.last;
    open.owner = storage::OpenRange::kRequeued;
    disk_.lanes.find(lane)->second.shards[numbers.shard].open[open.number] = open;
  }

  void commit() {
    const std::lock_guard lock(mutex_);
    for (Wakeup* subscriber : subscribers_) subscriber->notify();
  }

  static void add(storage::OutcomeCounts& to, const storage::OutcomeCounts& more) {
    to.sent += more.sent;
    to.failed += more.failed;
    to.expired += more.expired;
    to.skipped += more.skipped;
  }

  void apply(const Held& held) {
    storage::LaneUpdate& update = *held.update;
    update.floors = floors_;
    const auto found = disk_.lanes.find(update.lane);
    if (mark_error_)
      update.outcome = tl::unexpected(*mark_error_);
    else if (found == disk_.lanes.end())
      update.outcome = fail(ErrorCode::kNotFound, "no lane {}", update.lane);
    else
      change(found->second, update);
    held.client->give_back(update);
  }

  void change(storage::LaneState& lane, storage::LaneUpdate& update) {
    if (update.seek)
      for (auto& shard : lane.shards) shard = {};
    for (const auto& [shard, frontier] : update.frontiers)
      lane.shards[shard].frontier = std::max(lane.shards[shard].frontier, frontier);
    if (update.note) lane.note = *update.note;
    lane.active_ms = std::max(lane.active_ms, update.active_ms);
    // What was given up meanwhile is not opened, as in storage/lane_changes.cc.
    for (storage::OpenRange& range : update.put) {
      const storage::LaneShard& shard = lane.shards[range.shard];
      const bool open = std::any_of(shard.open.begin(), shard.open.end(), [&](const auto& entry) {
        return entry.second.first <= range.first && range.first <= entry.second.last;
      });
      if (!open) range.first = std::max(range.first, shard.floor);
    }
    for (const uint64_t number : update.close)
      for (auto& shard : lane.shards) shard.open.erase(number);
    for (const storage::OpenRange& range : update.put) {
      if (range.first > range.last) continue;
      WEIR_CHECK(range.first <= range.last && range.last < lane.shards[range.shard].frontier,
                 "an open range {}..{} is not below the frontier", range.first, range.last);
      for (const auto& [number, other] : lane.shards[range.shard].open)
        WEIR_CHECK(number == range.number || other.last < range.first || other.first > range.last,
                   "open ranges overlap at {}", range.first);
      lane.shards[range.shard].open[range.number] = range;
    }
    add(lane.counts, update.counts);
    for (const auto& [tenant, counts] : update.tenants) add(lane.tenants[tenant], counts);
    for (storage::DeadLetter letter : update.dead_letters) {
      letter.id = disk_.next_letter++;
      disk_.letters[letter.id] = letter;
    }
    for (const auto& row : update.deliveries) disk_.deliveries.push_back(row);
    for (const auto& range : update.expired) disk_.expired.push_back(range);
    using Kind = storage::LaneUpdate::DeadLetterChange::Kind;
    for (const auto& change : update.dead_letter_changes) {
      if (change.kind == Kind::kSent) {
        disk_.letters.erase(change.id);
        --lane.counts.failed;
        ++lane.counts.sent;
      } else if (change.kind == Kind::kRetried) {
        storage::DeadLetter& letter = disk_.letters.at(change.id);
        letter.requeue_attempts = change.replacement.requeue_attempts;
        letter.requeued_ms = change.replacement.requeued_ms;
      } else {
        disk_.letters[change.id] = change.replacement;
      }
    }
  }

  mutable std::mutex mutex_;
  FakeDisk disk_;
  DedupeSecret secret_;
  bool hold_ = false;
  std::deque<Held> held_;
  std::optional<Error> mark_error_;
  std::optional<Error> read_error_;
  std::vector<std::pair<uint16_t, uint64_t>> floors_;
  std::vector<Wakeup*> subscribers_;
  size_t reads_ = 0;
};

}  // namespace weir::forwarder::testing
