// A store with canned answers and an exchange that keeps its answer, for the admin listener's
// tests.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "collector/http/exchange.h"
#include "collector/http/server.h"
#include "storage/base/check.h"
#include "storage/store.h"

namespace weir::admin {

// Lane updates are applied at once, as far as dead letters go.
class FakeStore : public storage::Store {
 public:
  FakeStore() { id_ = StoreId::generate(); }

  void stop() override {}
  const StoreId& id() const override { return id_; }
  const DedupeSecret& dedupe_secret() const override { return secret_; }
  unsigned shards() const override { return 1; }
  std::string admission_detail() const override { return "disk is full"; }
  std::unique_ptr<storage::Appender> make_appender(Wakeup&) override { return nullptr; }
  storage::ShardStatus shard_status(unsigned) const override { return shard; }
  uint64_t committed_end(unsigned) const override { return shard.end; }
  Result<storage::ReadResult> read(unsigned, uint64_t from, const storage::ReadLimits&,
                                   FunctionRef<bool(const storage::StoredEvent&)> visit) override {
    if (received_ms != nullptr && from < shard.end) {
      storage::StoredEvent event;
      event.position = {0, std::max(from, shard.first)};
      event.received_ms = received_ms(event.position.number);
      visit(event);
    }
    return storage::ReadResult{};
  }
  Result<std::optional<Position>> find(std::string_view, std::string_view) override {
    return std::optional<Position>();
  }
  Result<storage::EventPlace> place(Position) const override { return event_place; }
  std::string pressure_detail() const override { return "the disk is nearly full"; }
  unsigned append_queue_percent() const override { return 0; }
  void set_draining(bool draining) override {
    set_admission(draining ? storage::Refusal::kDraining : storage::Refusal::kNone);
  }
  Status configure_lanes(const std::vector<storage::LaneOptions>&) override { return {}; }
  Result<storage::Replayed> replay(std::string_view lane,
                                   const std::vector<storage::ReplayRange>& ranges) override {
    replayed_lane = lane;
    replayed_ranges = ranges;
    return storage::Replayed{7, 2, 1};
  }
  Result<uint64_t> requeue_expired(std::string_view,
                                   const std::vector<storage::ExpiredRange>& ranges) override {
    uint64_t events = 0;
    for (const storage::ExpiredRange& range : ranges) {
      events += range.events;
      requeued_ranges.push_back(range);
    }
    return events;
  }
  void subscribe(Wakeup&) override {}
  void unsubscribe(Wakeup&) override {}
  uint64_t next_batch_number() override { return 1; }
  std::string batch_id(uint64_t number) const override { return std::to_string(number); }
  Result<storage::LaneState> lane(std::string_view name) const override {
    for (const storage::LaneState& state : lane_states)
      if (state.name == name) return state;
    return fail(ErrorCode::kNotFound, "no such lane");
  }
  std::vector<storage::LaneState> lanes() const override { return lane_states; }
  Status create_lane(const storage::LaneOptions&) override { return {}; }
  Status delete_lane(std::string_view) override { return {}; }
  int64_t oldest_pending_ms(std::string_view) const override { return 0; }
  storage::StoreTotals totals() const override {
    const std::lock_guard lock(totals_mutex_);
    return store_totals;
  }
  void set_accepted(uint64_t events) {  // also while the API's worker takes a sample
    const std::lock_guard lock(totals_mutex_);
    store_totals.accepted = events;
  }
  Result<storage::FreshCounts> fresh_counts() override {
    ++counted;
    return fresh;
  }
  Result<std::vector<storage::DeadLetter>> dead_letters(
      const storage::DeadLetterFilter& filter) override {
    std::lock_guard lock(mutex);
    std::vector<storage::DeadLetter> out;
    for (const auto& [number, letter] : letters)
      if (number > filter.after_id && out.size() < filter.limit &&
          (filter.lane.empty() || filter.lane == letter.lane) &&
          (filter.reason.empty() || filter.reason == letter.reason))
        out.push_back(letter);
    return out;
  }
  Result<storage::DeadLetter> dead_letter(uint64_t number) override {
    std::lock_guard lock(mutex);
    const auto found = letters.find(number);
    if (found == letters.end()) return fail(ErrorCode::kNotFound, "no failed event {}", number);
    return found->second;
  }
  Result<std::vector<storage::DeliveryRow>> deliveries(std::string_view, Position) override {
    return std::vector<storage::DeliveryRow>();
  }
  Result<std::vector<storage::ExpiredRange>> expired(std::string_view) override {
    return expired_ranges;
  }

  void set_admission(storage::Refusal refusal) { admission_.store(refusal); }

  class Client : public storage::LaneClient {
   public:
    Client(FakeStore& store, Wakeup& wakeup) : store_(store), wakeup_(wakeup) {}
    void submit(storage::LaneUpdate& update) override {
      std::lock_guard lock(store_.mutex);
      using Kind = storage::LaneUpdate::DeadLetterChange::Kind;
      for (const auto& change : update.dead_letter_changes) {
        if (change.kind == Kind::kRequeued) store_.letters[change.id].requeued = true;
        if (change.kind == Kind::kDiscarded) store_.letters.erase(change.id);
        if (change.kind == Kind::kEdited) store_.letters[change.id] = change.replacement;
      }
      update.outcome = store_.update_outcome;
      update.next = done_;
      done_ = &update;
      wakeup_.notify();
    }
    storage::LaneUpdate* take_outcomes() override { return std::exchange(done_, nullptr); }

   private:
    FakeStore& store_;
    Wakeup& wakeup_;
    storage::LaneUpdate* done_ = nullptr;
  };
  std::unique_ptr<storage::LaneClient> make_lane_client(Wakeup& wakeup) override {
    return std::make_unique<Client>(*this, wakeup);
  }

  std::mutex mutex;
  std::map<uint64_t, storage::DeadLetter> letters;
  std::vector<storage::LaneState> lane_states;
  storage::EventPlace event_place;
  std::vector<storage::ExpiredRange> expired_ranges;
  std::vector<storage::ExpiredRange> requeued_ranges;
  std::string replayed_lane;
  std::vector<storage::ReplayRange> replayed_ranges;
  storage::StoreTotals store_totals;
  storage::ShardStatus shard;
  std::function<int64_t(uint64_t number)> received_ms;  // null: nothing can be read
  storage::FreshCounts fresh;
  Status update_outcome;
  std::atomic<int> counted{0};

 private:
  mutable std::mutex totals_mutex_;
  StoreId id_;
  DedupeSecret secret_;
};

class FakeExchange : public http::Exchange {
 public:
  http::Request& request() override { return request_; }
  bool client_gone() const override { return gone; }
  int64_t received_ns() const override { return 0; }
  void respond(const http::Response& response) override {
    ++answers;
    status = response.status;
    headers = response.extra_headers;
    body = response.body;
    content_type = response.content_type;
  }
  void begin_stream(const http::Response& head) override {
    ++answers;
    status = head.status;
    headers = head.extra_headers;
    content_type = head.content_type;
  }
  bool write_chunk(std::string_view bytes) override {
    if (gone) return false;
    body += bytes;
    if (!reads) backlog += bytes.size();
    return true;
  }
  size_t stream_backlog() const override { return backlog; }
  void finish_stream() override { finished = true; }

  // target: path with query. LIFETIME: the texts outlive this.
  FakeExchange& set(http::Method method, std::string_view target,
                    std::vector<http::Header> request_headers = {{"Host", "127.0.0.1:9090"}}) {
    request_.method = method;
    request_.target = target;
    request_.path = target.substr(0, target.find('?'));
    request_.query = target.size() > request_.path.size() ? target.substr(request_.path.size() + 1)
                                                          : std::string_view();
    request_.headers = std::move(request_headers);
    return *this;
  }
  void set_body(std::string_view text) {
    if (text.empty()) return;
    WEIR_CHECK(budget_.reserve(request_.body, text.size() + 1), "no memory for a body");
    std::copy(text.begin(), text.end(), request_.body.data());
    http::BodyBudget::set_size(request_.body, text.size());
  }

  bool gone = false;  // the client left
  bool reads = true;  // false: what is streamed stays in the backlog
  size_t backlog = 0;
  bool finished = false;
  int answers = 0;
  int status = 0;
  std::string headers;
  std::string body;
  std::string content_type;

 private:
  http::BodyBudget budget_{uint64_t{1} << 20};
  http::Request request_;  // its body goes back to the budget
};

}  // namespace weir::admin
