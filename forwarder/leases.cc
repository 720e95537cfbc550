#include "forwarder/leases.h"

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "forwarder/consumer.h"
#include "forwarder/limits.h"
#include "storage/base/log.h"

namespace weir::forwarder {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr const char* kTemporaryLabel = "(temporary)";

class LeasesThread final : public Leases {
 public:
  LeasesThread(const PullOptions& options, storage::Store& store, const Clock& clock,
               MetricRegistry& metrics)
      : options_(options), store_(store), clock_(clock), metrics_(metrics) {}
  ~LeasesThread() override { stop(); }

  Status begin();
  void submit(PullCall& call) override;
  void wake() override { wakeup_.notify(); }
  void look_for_requeued() override {
    look_.store(true);
    wakeup_.notify();
  }
  Status may_declare(const std::vector<ConsumerOptions>& consumers) const override;
  void declare(std::vector<ConsumerOptions> consumers) override {
    {
      const std::lock_guard lock(declared_mutex_);
      declared_ = std::move(consumers);
    }
    wakeup_.notify();
  }
  void release_body(uint64_t bytes) override {
    memory_.fetch_sub(bytes, std::memory_order_relaxed);
    if (gated_.load(std::memory_order_seq_cst)) wakeup_.notify();
  }
  void stop() override;

 private:
  struct Deletion {
    std::unique_ptr<Consumer> consumer;
    PullCall* call = nullptr;  // null: a temporary one that was idle too long
  };

  void run();
  void work();
  void wait();
  void accept(PullCall& call);
  void hand_to_consumer(PullCall& call);
  Consumer* find(PullCall& call);
  void list(PullCall& call);
  void create(PullCall& call);
  void remove(PullCall& call);
  void retire(Consumer& consumer, PullCall* call);
  void finish_deletions();
  void retire_idle();
  void take_declared();
  Status add_declared(const ConsumerOptions& options);
  Status add(ConsumerOptions options, bool declared);
  Status make(const ConsumerOptions& options);
  PullCells& cells_of(const ConsumerOptions& options);
  void take_marks();
  bool all_marked() const;
  void fail_call(PullCall& call, ErrorCode code, std::string_view stable, std::string message);
  static void finish(PullCall& call);
  bool waiting() const;

  const PullOptions options_;
  storage::Store& store_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  std::array<std::unique_ptr<Compressor>, 3> compressors_;
  std::map<std::string, std::unique_ptr<PullCells>> cells_;

  Wakeup wakeup_;   // calls, marks, stop
  Wakeup commits_;  // the store committed
  Mailbox<PullCall> submitted_;
  std::atomic<uint64_t> memory_{0};
  std::atomic<bool> gated_{false};
  std::atomic<bool> look_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};
  std::mutex declared_mutex_;
  std::optional<std::vector<ConsumerOptions>> declared_;  // not yet seen by the thread
  std::mutex late_mutex_;  // calls after the end are answered by whoever submits them

  // The thread's.
  std::unique_ptr<storage::LaneClient> client_;
  std::map<std::string, std::unique_ptr<Consumer>, std::less<>> consumers_;
  std::vector<Deletion> deletions_;
  int64_t commits_quiet_until_ns_ = 0;
  std::thread thread_;
};

bool covers(const std::vector<std::string>& may_see, const std::vector<std::string>& tenants) {
  if (may_see.empty()) return true;
  return !tenants.empty() &&
         std::all_of(tenants.begin(), tenants.end(), [&](const std::string& tenant) {
           return std::find(may_see.begin(), may_see.end(), tenant) != may_see.end();
         });
}

Status LeasesThread::begin() {
  for (const Compression one : {Compression::kNone, Compression::kGzip, Compression::kZstd}) {
    WEIR_ASSIGN_OR_RETURN(compressors_[static_cast<size_t>(one)], Compressor::make(one));
  }
  client_ = store_.make_lane_client(wakeup_);
  for (const ConsumerOptions& declared : options_.consumers)
    WEIR_RETURN_IF_ERROR(add_declared(declared));
  for (const storage::LaneState& state : store_.lanes()) {
    if (state.kind != storage::LaneKind::kConsumer || consumers_.contains(state.name)) continue;
    ConsumerOptions options;
    options.lane.name = state.name;
    options.lane.kind = storage::LaneKind::kConsumer;
    std::deque<Ending> endings;
    if (!state.note.empty()) decode_note(state.note, &options, &endings);
    WEIR_RETURN_IF_ERROR(add(std::move(options), false));
  }
  store_.subscribe(commits_);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "weir-leases");
    run();
  });
  return {};
}

PullCells& LeasesThread::cells_of(const ConsumerOptions& options) {
  const std::string label = options.temporary ? kTemporaryLabel : options.lane.name;
  auto& cells = cells_[label];
  if (cells != nullptr) return *cells;
  cells = std::make_unique<PullCells>(metrics_, label);
  if (options.temporary) return *cells;
  metrics_.gauge_callback(Metric::kPullOldest, {label}, [this, label] {
    const int64_t oldest = store_.oldest_pending_ms(label);
    return oldest == 0
               ? 0.0
               : static_cast<double>(std::max<int64_t>(clock_.wall_ms() - oldest, 0)) / 1000;
  });
  return *cells;
}

Status LeasesThread::may_declare(const std::vector<ConsumerOptions>& consumers) const {
  const std::vector<storage::LaneState> lanes = store_.lanes();
  const auto added =
      std::count_if(consumers.begin(), consumers.end(), [&](const ConsumerOptions& one) {
        return std::none_of(lanes.begin(), lanes.end(), [&](const storage::LaneState& lane) {
          return lane.name == one.lane.name;
        });
      });
  const auto there = std::count_if(lanes.begin(), lanes.end(), [](const storage::LaneState& lane) {
    return lane.kind == storage::LaneKind::kConsumer;
  });
  const auto count = static_cast<uint64_t>(added + there);
  if (added == 0 || count <= options_.max_consumers) return {};
  return fail(ErrorCode::kLimit,
              "with those that are there would be {} consumers, pull.max_consumers allows {}; "
              "`weir consumer delete` some",
              count, options_.max_consumers);
}

Status LeasesThread::add_declared(const ConsumerOptions& options) {
  if (!store_.lane(options.lane.name)) WEIR_RETURN_IF_ERROR(store_.create_lane(options.lane));
  return add(options, true);
}

// While one of them is being deleted all wait: its lane goes and has to be made anew.
void LeasesThread::take_declared() {
  std::vector<ConsumerOptions> consumers;
  {
    const std::lock_guard lock(declared_mutex_);
    if (!declared_ || !deletions_.empty()) return;
    consumers = std::move(*declared_);
    declared_.reset();
  }
  std::set<std::string_view> names;
  for (const ConsumerOptions& options : consumers) {
    names.insert(options.lane.name);
    const auto found = consumers_.find(options.lane.name);
    if (found != consumers_.end())
      found->second->configure(options, true);
    else if (const Status added = add_declared(options); !added)
      log::error("consumer_not_declared",
                 {{"consumer", options.lane.name}, {"error", added.error().message}});
  }
  for (const auto& [name, consumer] : consumers_)
    if (consumer->declared() && !names.contains(name))
      consumer->configure(ConsumerOptions(consumer->options()), false);
}

Status LeasesThread::add(ConsumerOptions options, bool declared) {
  PullCells& cells = cells_of(options);
  const std::string name = options.lane.name;
  auto consumer = std::make_unique<Consumer>(
      std::move(options), declared,
      Consumer::Surroundings{store_, *client_, clock_, options_, compressors_, memory_,
                             [](PullCall& call) { finish(call); }},
      cells);
  WEIR_RETURN_IF_ERROR(consumer->load());
  consumers_[name] = std::move(consumer);
  return {};
}

// ---- from and to other threads

void LeasesThread::submit(PullCall& call) {
  submitted_.push(&call);
  wakeup_.notify();
  if (!ended_.load(std::memory_order_seq_cst)) return;
  const std::lock_guard lock(late_mutex_);
  for (PullCall* late = submitted_.take_all(); late != nullptr;) {
    PullCall* const next = late->next;
    fail_call(*late, ErrorCode::kUnavailable, "stopping", "the server is shutting down");
    late = next;
  }
}

void LeasesThread::finish(PullCall& call) {
  PullInbox& inbox = *call.inbox;
  inbox.done.push(&call);
  inbox.wakeup.notify();
}

void LeasesThread::fail_call(PullCall& call, ErrorCode code, std::string_view stable,
                             std::string message) {
  call.code = stable;
  call.status = tl::unexpected(Error{code, 0, std::move(message)});
  finish(call);
}

void LeasesThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  wakeup_.notify();
  thread_.join();
  store_.unsubscribe(commits_);
}

// ---- the thread

void LeasesThread::run() {
  while (!stopping_.load()) {
    work();
    wait();
  }
  const Error why{ErrorCode::kUnavailable, 0, "the server is shutting down"};
  for (const auto& [name, consumer] : consumers_) consumer->stop(why);
  const int64_t until = clock_.monotonic_ns() + kMarkGraceMs * kMs;
  while (!all_marked() && clock_.monotonic_ns() < until) {
    wakeup_.wait(kDrainLookMs * kMs);
    work();
  }
  // Nobody looks at the mailbox any more: what comes is answered where it is submitted.
  ended_.store(true, std::memory_order_seq_cst);
  const std::lock_guard lock(late_mutex_);
  for (PullCall* late = submitted_.take_all(); late != nullptr;) {
    PullCall* const next = late->next;
    fail_call(*late, ErrorCode::kUnavailable, "stopping", "the server is shutting down");
    late = next;
  }
}

void LeasesThread::work() {
  take_marks();
  take_declared();
  for (PullCall* call = submitted_.take_all(); call != nullptr;) {
    PullCall* const next = call->next;
    accept(*call);
    call = next;
  }
  retire_idle();
  bool gated = false;
  const bool look = look_.exchange(false);
  for (const auto& [name, consumer] : consumers_) {
    if (look) consumer->look_for_requeued();
    consumer->turn();
    gated = gated || consumer->gated();
  }
  finish_deletions();
  take_declared();  // what waited for them
  gated_.store(gated, std::memory_order_seq_cst);
  // A body may have been released between the look and the note that somebody waits for it.
  if (gated && memory_.load(std::memory_order_seq_cst) < options_.max_memory_bytes)
    wakeup_.notify();
}

void LeasesThread::take_marks() {
  for (storage::LaneUpdate* update = client_->take_outcomes(); update != nullptr;) {
    storage::LaneUpdate* const next = update->next;
    auto& mark = *static_cast<Consumer::Mark*>(update->context);
    mark.consumer->on_mark(mark);
    update = next;
  }
}

bool LeasesThread::all_marked() const {
  return std::all_of(consumers_.begin(), consumers_.end(),
                     [](const auto& entry) { return entry.second->marked(); }) &&
         std::all_of(deletions_.begin(), deletions_.end(),
                     [](const Deletion& deletion) { return deletion.consumer->marked(); });
}

bool LeasesThread::waiting() const {
  return std::any_of(consumers_.begin(), consumers_.end(),
                     [](const auto& entry) { return entry.second->waiting(); });
}

// Until somebody asks, a mark came back, a lease's time is over, or, while somebody waits for
// events, the store committed. With nobody waiting commits wake nobody.
void LeasesThread::wait() {
  const int64_t now = clock_.monotonic_ns();
  int64_t deadline = INT64_MAX;
  for (const auto& [name, consumer] : consumers_) {
    deadline = std::min(deadline, consumer->deadline_ns());
    if (const int64_t idle_ms = consumer->idle_in_ms(); idle_ms < kLongestIdleWaitMs)
      deadline = std::min(deadline, now + (idle_ms + 1) * kMs);
  }
  pollfd set[2] = {{wakeup_.fd(), POLLIN, 0}, {commits_.fd(), POLLIN, 0}};
  nfds_t count = 1;
  if (waiting() && now >= commits_quiet_until_ns_) count = 2;
  if (waiting() && count == 1) deadline = std::min(deadline, commits_quiet_until_ns_);
  const int64_t wait_ns = std::max<int64_t>(deadline - now, 0);
  const timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  // EINTR: one turn more.
  ppoll(set, count, deadline == INT64_MAX ? nullptr : &timeout, nullptr);
  wakeup_.reset();
  if (count == 2 && set[1].revents != 0) {
    commits_.reset();
    commits_quiet_until_ns_ = clock_.monotonic_ns() + kCommitQuietMs * kMs;
  }
}

// ---- calls

void LeasesThread::accept(PullCall& call) {
  switch (call.kind) {
    case PullKind::kList:
      return list(call);
    case PullKind::kCreate:
      return create(call);
    case PullKind::kDelete:
      return remove(call);
    default:
      return hand_to_consumer(call);
  }
}

Consumer* LeasesThread::find(PullCall& call) {
  auto found = consumers_.find(call.consumer);
  const bool creates = call.kind == PullKind::kLease || call.kind == PullKind::kSeek;
  if (found == consumers_.end() && call.may_create && creates) {
    ConsumerOptions options;
    options.lane.name = call.consumer;
    options.lane.max_idle_ms = kDefaultMaxIdleMs;
    if (Status made = make(options); !made) {
      fail_call(call, made.error().code, "consumer_not_created", made.error().message);
      return nullptr;
    }
    found = consumers_.find(call.consumer);
  }
  if (found == consumers_.end()) {
    fail_call(call, ErrorCode::kNotFound, "unknown_consumer",
              fmt::format("there is no consumer {}; declare it under [[consumers]], or create it "
                          "with `weir consumer create`",
                          call.consumer));
    return nullptr;
  }
  if (!covers(call.tenants, found->second->options().filter_tenants)) {
    fail_call(call, ErrorCode::kPermission, "forbidden",
              "this consumer hands out events of tenants the token may not see; give the consumer "
              "filter.tenants that the token has");
    return nullptr;
  }
  return found->second.get();
}

void LeasesThread::hand_to_consumer(PullCall& call) {
  Consumer* consumer = find(call);
  if (consumer == nullptr) return;
  switch (call.kind) {
    case PullKind::kLease: {
      size_t waiting = 0;
      for (const auto& [name, one] : consumers_) waiting += one->waiters();
      if (waiting >= options_.max_waiting)
        return fail_call(call, ErrorCode::kLimit, "too_many_waiting",
                         "pull.max_waiting requests wait for events already; ask again later");
      return consumer->lease(call);
    }
    case PullKind::kAck:
      return consumer->ack(call);
    case PullKind::kRenew:
      return consumer->renew(call);
    case PullKind::kRelease:
      return consumer->release(call);
    case PullKind::kSeek:
      return consumer->seek(call);
    case PullKind::kReplay:
      return consumer->replay(call);
    default:
      call.infos.push_back(consumer->info());
      return finish(call);
  }
}

void LeasesThread::list(PullCall& call) {
  for (const auto& [name, consumer] : consumers_) call.infos.push_back(consumer->info());
  finish(call);
}

void LeasesThread::create(PullCall& call) {
  if (const Status made = make(call.create); !made)
    return fail_call(
        call, made.error().code,
        made.error().code == ErrorCode::kAlreadyExists ? "consumer_exists" : "consumer_not_created",
        made.error().message);
  call.infos.push_back(consumers_.find(call.create.lane.name)->second->info());
  finish(call);
}

Status LeasesThread::make(const ConsumerOptions& options) {
  WEIR_RETURN_IF_ERROR(check_consumer(options));
  if (consumers_.size() + deletions_.size() >= options_.max_consumers)
    return fail(ErrorCode::kLimit,
                "there are {} consumers, as many as pull.max_consumers allows; delete one",
                consumers_.size());
  ConsumerOptions made = options;
  made.lane.kind = storage::LaneKind::kConsumer;
  made.lane.note = encode_note(made, {});
  WEIR_RETURN_IF_ERROR(store_.create_lane(made.lane));
  log::info("consumer_created", {{"consumer", made.lane.name}, {"temporary", made.temporary}});
  return add(std::move(made), false);
}

void LeasesThread::remove(PullCall& call) {
  Consumer* consumer = find(call);
  if (consumer == nullptr) return;
  if (consumer->declared())
    return fail_call(call, ErrorCode::kAlreadyExists, "consumer_declared",
                     "this consumer is declared under [[consumers]]; take it out there, reload, "
                     "and delete it then");
  retire(*consumer, &call);
}

// Nobody can use it from now on; it is deleted once its marks came back.
void LeasesThread::retire(Consumer& consumer, PullCall* call) {
  consumer.stop(Error{ErrorCode::kNotFound, 0, "this consumer was deleted"});
  const auto found = consumers_.find(consumer.name());
  deletions_.push_back({std::move(found->second), call});
  consumers_.erase(found);
}

void LeasesThread::finish_deletions() {
  for (auto deletion = deletions_.begin(); deletion != deletions_.end();) {
    if (!deletion->consumer->marked()) {
      ++deletion;
      continue;
    }
    const Status done = store_.delete_lane(deletion->consumer->name());
    if (done)
      log::info("consumer_deleted", {{"consumer", deletion->consumer->name()},
                                     {"why", deletion->call != nullptr ? "asked" : "idle"}});
    if (deletion->call != nullptr) {
      if (done)
        finish(*deletion->call);
      else
        fail_call(*deletion->call, done.error().code, "consumer_not_deleted", done.error().message);
    }
    deletion = deletions_.erase(deletion);
  }
}

void LeasesThread::retire_idle() {
  std::vector<Consumer*> idle;
  for (const auto& [name, consumer] : consumers_)
    if (consumer->idle_in_ms() == 0) idle.push_back(consumer.get());
  for (Consumer* consumer : idle) {
    log::warn("temporary_consumer_idle",
              {{"consumer", consumer->name()}, {"meaning", "it is deleted"}});
    retire(*consumer, nullptr);
  }
}

}  // namespace

Status check_consumer(const ConsumerOptions& options) {
  const std::string& name = options.lane.name;
  const bool plain = !name.empty() && name.size() <= 64 &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) || c == '_' || c == '-' || c == '.';
                     });
  if (!plain)
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is not a consumer's name; use 1 to 64 letters, digits, '_', '-' or '.'",
                name);
  for (const auto* list : {&options.filter_tenants, &options.filter_names, &options.filter_sources})
    if (list->size() > kMaxFilterEntries ||
        std::any_of(list->begin(), list->end(),
                    [](const std::string& text) { return text.size() > kMaxFilterBytes; }))
      return fail(ErrorCode::kInvalidArgument,
                  "a consumer's filter has at most {} entries of {} bytes", kMaxFilterEntries,
                  kMaxFilterBytes);
  if (options.temporary && options.lane.max_idle_ms == 0)
    return fail(ErrorCode::kInvalidArgument, "a temporary consumer needs max_idle_seconds");
  return {};
}

std::string holder_of(std::string_view owner) { return RangeOwner::parse(owner).holder; }

Result<std::unique_ptr<Leases>> Leases::start(const PullOptions& options, storage::Store& store,
                                              const Clock& clock, MetricRegistry& metrics) {
  auto leases = std::make_unique<LeasesThread>(options, store, clock, metrics);
  WEIR_RETURN_IF_ERROR(leases->begin());
  return std::unique_ptr<Leases>(std::move(leases));
}

}  // namespace weir::forwarder
