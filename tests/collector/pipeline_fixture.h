// A pipeline with everything around it replaced by something a test can steer: a loop that runs
// when told, a store that commits, refuses or hangs when told, exchanges that remember their
// answer.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collector/pipeline.h"
#include "collector/reactor/timer_wheel.h"
#include "storage/base/event_record.h"

namespace weir {

class FakeLoop : public reactor::Loop {
 public:
  explicit FakeLoop(const Clock& clock) : clock_(clock), wheel_(clock.monotonic_ns()) {}
  // One turn: what was deferred before it, then timers, then the hooks.
  void turn() {
    std::vector<reactor::Task*> tasks = std::exchange(tasks_, {});
    for (reactor::Task* task : tasks) task->run();
    wheel_.expire(clock_.monotonic_ns());
    for (reactor::TurnHook* hook : hooks_) hook->before_sleep();
  }
  void wake() {
    for (const auto& callback : callbacks_) callback();
  }
  size_t deferred() const { return tasks_.size(); }

  void run() override {}
  void stop() override {}
  Result<reactor::Listener*> listen(const reactor::ListenerOptions&,
                                    reactor::ConnectionFactory&) override {
    return fail(ErrorCode::kInternal, "no sockets here");
  }
  void defer(reactor::Task& task) override { tasks_.push_back(&task); }
  void arm(reactor::Timer& timer, int64_t delay_ns) override {
    wheel_.arm(timer, clock_.monotonic_ns() + delay_ns);
  }
  void cancel(reactor::Timer& timer) override { reactor::TimerWheel::cancel(timer); }
  void add_turn_hook(reactor::TurnHook& hook) override { hooks_.push_back(&hook); }
  Wakeup& wakeup() override { return wakeup_; }
  void on_wakeup(std::function<void()> callback) override {
    callbacks_.push_back(std::move(callback));
  }
  int64_t now_ns() const override { return clock_.monotonic_ns(); }
  int64_t wall_ms() const override { return clock_.wall_ms(); }

 private:
  const Clock& clock_;
  Wakeup wakeup_;
  reactor::TimerWheel wheel_;
  std::vector<reactor::Task*> tasks_;
  std::vector<reactor::TurnHook*> hooks_;
  std::vector<std::function<void()>> callbacks_;
};

class FakeStore;

class FakeAppender : public storage::Appender {
 public:
  explicit FakeAppender(FakeStore& store) : store_(store) {}
  void append(storage::AppendRequest& request) override { collected_.push_back(&request); }
  void flush() override;
  storage::AppendRequest* take_outcomes() override;

 private:
  friend class FakeStore;
  FakeStore& store_;
  std::vector<storage::AppendRequest*> collected_;
  std::vector<storage::AppendRequest*> outcomes_;
};

// Keeps what it commits as decoded records.
class FakeStore : public storage::Store {
 public:
  struct Stored {
    std::string payload;
    EventFields fields;  // into payload
  };

  void set_admission(storage::Refusal refusal) { admission_.store(refusal); }
  std::vector<storage::AppendRequest*> lent;  // flushed, not yet answered
  std::deque<Stored> events;

  // What the writer does with everything lent.
  void commit_all() {
    for (storage::AppendRequest* request : std::exchange(lent, {})) {
      for (storage::AppendEntry& entry : request->entries) commit(entry);
      request->outcome = storage::AppendOutcome::kCommitted;
      appender_->outcomes_.push_back(request);
    }
  }
  void refuse_all(storage::Refusal refusal) {
    for (storage::AppendRequest* request : std::exchange(lent, {})) {
      request->outcome = storage::AppendOutcome::kRefused;
      request->refusal = refusal;
      appender_->outcomes_.push_back(request);
    }
  }

  void stop() override {}
  const StoreId& id() const override { return id_; }
  const DedupeSecret& dedupe_secret() const override { return secret_; }
  unsigned shards() const override { return 1; }
  std::string admission_detail() const override { return "because the test says so"; }
  std::unique_ptr<storage::Appender> make_appender(Wakeup&) override {
    auto appender = std::make_unique<FakeAppender>(*this);
    appender_ = appender.get();
    return appender;
  }
  storage::ShardStatus shard_status(unsigned) const override { return {}; }
  uint64_t committed_end(unsigned) const override { return events.size() + 1; }
  Result<storage::ReadResult> read(unsigned, uint64_t, const storage::ReadLimits&,
                                   FunctionRef<bool(const storage::StoredEvent&)>) override {
    return none();
  }
  Result<std::optional<Position>> find(std::string_view, std::string_view) override {
    return none();
  }
  Result<storage::EventPlace> place(Position) const override { return none(); }
  std::string pressure_detail() const override { return "because the test says so"; }
  unsigned append_queue_percent() const override { return queue_percent; }
  void set_draining(bool) override {}
  Status configure_lanes(const std::vector<storage::LaneOptions>&) override { return none(); }
  Result<uint64_t> requeue_expired(std::string_view,
                                   const std::vector<storage::ExpiredRange>&) override {
    return none();
  }
  Result<storage::Replayed> replay(std::string_view,
                                   const std::vector<storage::ReplayRange>&) override {
    return none();
  }
  void set_pressure(storage::Pressure pressure) { pressure_.store(pressure); }
  unsigned queue_percent = 0;
  void subscribe(Wakeup&) override {}
  void unsubscribe(Wakeup&) override {}
  uint64_t next_batch_number() override { return 1; }
  std::string batch_id(uint64_t) const override { return {}; }
  Result<storage::LaneState> lane(std::string_view) const override { return none(); }
  std::vector<storage::LaneState> lanes() const override { return {}; }
  std::unique_ptr<storage::LaneClient> make_lane_client(Wakeup&) override { return nullptr; }
  Status create_lane(const storage::LaneOptions&) override { return none(); }
  Status delete_lane(std::string_view) override { return none(); }
  int64_t oldest_pending_ms(std::string_view) const override { return 0; }
  storage::StoreTotals totals() const override { return {}; }
  Result<storage::FreshCounts> fresh_counts() override { return none(); }
  Result<std::vector<storage::DeadLetter>> dead_letters(const storage::DeadLetterFilter&) override {
    return none();
  }
  Result<storage::DeadLetter> dead_letter(uint64_t) override { return none(); }
  Result<std::vector<storage::DeliveryRow>> deliveries(std::string_view, Position) override {
    return none();
  }
  Result<std::vector<storage::ExpiredRange>> expired(std::string_view) override { return none(); }

 private:
  static tl::unexpected<Error> none() { return fail(ErrorCode::kInternal, "not in this fake"); }

  void commit(storage::AppendEntry& entry) {
    if (!entry.fingerprint.empty()) {
      const auto [known, added] = fingerprints_.emplace(entry.fingerprint, events.size() + 1);
      if (!added) {
        entry.outcome = storage::EntryOutcome::kDuplicate;
        entry.number = known->second;
        return;
      }
    }
    Stored& stored = events.emplace_back();
    stored.payload.append(entry.head).append(entry.raw);
    EXPECT_TRUE(decode_event_record(stored.payload, &stored.fields));
    EXPECT_EQ(stored.fields.tenant, entry.tenant);
    entry.outcome = storage::EntryOutcome::kStored;
    entry.number = events.size();
  }

  StoreId id_ = *StoreId::parse("00112233-4455-4677-8899-aabbccddeeff");
  DedupeSecret secret_;
  FakeAppender* appender_ = nullptr;
  std::map<Fingerprint, uint64_t> fingerprints_;
};

inline void FakeAppender::flush() {
  store_.lent.insert(store_.lent.end(), collected_.begin(), collected_.end());
  collected_.clear();
}

inline storage::AppendRequest* FakeAppender::take_outcomes() {
  storage::AppendRequest* first = nullptr;
  for (auto at = outcomes_.rbegin(); at != outcomes_.rend(); ++at) {
    (*at)->next = first;
    first = *at;
  }
  outcomes_.clear();
  return first;
}

// The answer to one request, kept after the exchange is gone.
struct Answer {
  int count = 0;  // answers so far; one is right
  int status = 0;
  std::string content_type;
  std::string headers;
  std::string body;
  int retry_after = 0;
};

class FakeExchange : public http::Exchange {
 public:
  explicit FakeExchange(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  http::Request& request() override { return request_; }
  bool client_gone() const override { return gone; }
  int64_t received_ns() const override { return 0; }
  void respond(const http::Response& response) override {
    ++answer_->count;
    answer_->status = response.status;
    answer_->content_type = response.content_type;
    answer_->headers = response.extra_headers;
    answer_->body = response.body;
    answer_->retry_after = response.retry_after_seconds;
    delete this;  // gone, as the contract says: a later use is a finding of the sanitizer
  }
  void begin_stream(const http::Response&) override {}
  bool write_chunk(std::string_view) override { return false; }
  size_t stream_backlog() const override { return 0; }
  void finish_stream() override {}

  bool gone = false;
  std::vector<std::string> owned;  // what the request's views point to

 private:
  std::shared_ptr<Answer> answer_;
  http::Request request_;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// A clock whose time moves with each look, so that slices end where the test wants.
class SteppingClock : public ManualClock {
 public:
  int64_t monotonic_ns() const override {
    now_ns_ += step_ns;
    return now_ns_ + ManualClock::monotonic_ns();
  }
  int64_t step_ns = 0;

 private:
  mutable int64_t now_ns_ = 0;
};

class PipelineTest : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }

  void start(const std::vector<event::KeyOptions>& keys, PipelineOptions options = {}) {
    pipeline_.reset();
    store_ = std::make_unique<FakeStore>();
    loop_ = std::make_unique<FakeLoop>(clock_);
    metrics_ = std::make_unique<MetricRegistry>();
    pressure_ = std::make_unique<PressureGauge>(*store_, budget_);
    pipeline_ = Pipeline::create(
        options, {*loop_, *store_, clock_, *metrics_, nullptr, tokens_, pressure_.get()},
        table(keys));
  }

  static std::shared_ptr<const event::KeyTable> table(std::vector<event::KeyOptions> keys) {
    if (keys.empty()) keys.emplace_back();  // the open default key
    auto built = event::KeyTable::build(keys);
    EXPECT_TRUE(built.has_value()) << (built ? "" : built.error().message);
    return *built;
  }

  // Sends a request; the answer may come at once or after commit().
  std::shared_ptr<Answer> send(http::Method method, std::string target, std::string body = {},
                               Headers headers = {}) {
    auto answer = std::make_shared<Answer>();
    auto* exchange = new FakeExchange(answer);
    fill(*exchange, method, std::move(target), body, std::move(headers));
    last_exchange_ = exchange;
    pipeline_->on_request(*exchange);
    return answer;
  }
  std::shared_ptr<Answer> post(std::string target, std::string body, Headers headers = {}) {
    return send(http::Method::kPost, std::move(target), std::move(body), std::move(headers));
  }
  // Sends, lets the loop turn until all slices are done, commits.
  Answer post_and_commit(std::string target, std::string body, Headers headers = {}) {
    auto answer = post(std::move(target), std::move(body), std::move(headers));
    commit();
    EXPECT_EQ(answer->count, 1);
    return *answer;
  }

  http::HeadVerdict head(http::Method method, std::string target, Headers headers = {}) {
    FakeExchange exchange(std::make_shared<Answer>());
    fill(exchange, method, std::move(target), {}, std::move(headers));
    return pipeline_->on_head(exchange.request());
  }

  void run_slices() {
    do loop_->turn();
    while (loop_->deferred() > 0);
  }
  void commit() {
    run_slices();
    store_->commit_all();
    loop_->wake();
  }

  uint64_t count(Metric metric, const std::vector<std::string>& labels) {
    for (const MetricRegistry::Series& series : metrics_->collect())
      if (series.metric == metric && series.label_values == labels)
        return static_cast<uint64_t>(series.value);
    return 0;
  }
  const EventFields& stored(size_t i) { return store_->events.at(i).fields; }

  SteppingClock clock_;
  const protocols::UserTokenVerifier* tokens_ = nullptr;
  std::unique_ptr<FakeStore> store_;
  std::unique_ptr<FakeLoop> loop_;
  std::unique_ptr<MetricRegistry> metrics_;
  std::unique_ptr<PressureGauge> pressure_;
  std::unique_ptr<Pipeline> pipeline_;
  FakeExchange* last_exchange_ = nullptr;  // dead once answered

 private:
  void fill(FakeExchange& exchange, http::Method method, std::string target, std::string_view body,
            Headers headers) {
    exchange.owned.reserve(headers.size() * 2 + 2);
    const auto own = [&](std::string text) -> std::string_view {
      return exchange.owned.emplace_back(std::move(text));
    };
    http::Request& request = exchange.request();
    request.method = method;
    request.target = own(std::move(target));
    const size_t mark = request.target.find('?');
    request.path = request.target.substr(0, mark);
    if (mark != std::string_view::npos) request.query = request.target.substr(mark + 1);
    request.client_ip = "203.0.113.9";
    for (auto& [name, value] : headers) {
      const std::string_view owned_name = own(std::move(name));
      request.headers.push_back({owned_name, own(std::move(value))});
    }
    ASSERT_TRUE(budget_.reserve(request.body, body.size() + 1));
    std::copy(body.begin(), body.end(), request.body.data());
    http::BodyBudget::set_size(request.body, body.size());
  }

 protected:
  http::BodyBudget budget_{uint64_t{1} << 30};
};

}  // namespace weir
