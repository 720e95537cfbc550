#include "forwarder/forwarder.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "forwarder/destinations/kinds.h"
#include "forwarder/lane.h"
#include "forwarder/limits.h"
#include "forwarder/reaper.h"
#include "storage/base/log.h"
#include "storage/base/wakeup.h"

namespace weir::forwarder {
namespace {

Status check_destination(const DestinationOptions& options, std::set<std::string>* names) {
  if (options.name.empty())
    return fail(ErrorCode::kInvalidArgument, "a destination has no name; give it one");
  if (!names->insert(options.name).second)
    return fail(ErrorCode::kInvalidArgument, "two destinations are named {}", options.name);
  if (options.concurrency == 0 || options.batch.max_events == 0)
    return fail(ErrorCode::kInvalidArgument,
                "destination {}: concurrency and batch.max_events must be at least 1",
                options.name);
  return {};
}

// The lane of a destination that was added since the store was opened.
Status ensure_lane(storage::Store& store, const DestinationOptions& options) {
  auto state = store.lane(options.name);
  if (state) return {};
  if (state.error().code != ErrorCode::kNotFound) return tl::unexpected(state.error());
  storage::LaneOptions lane;
  lane.name = options.name;
  lane.kind = storage::LaneKind::kDestination;
  lane.max_backlog_bytes = options.max_backlog_bytes;
  lane.max_backlog_age_ms = options.max_backlog_age_ms;
  lane.policy = options.backlog_policy;
  return store.create_lane(lane);
}

class ForwarderThread : public Forwarder {
 public:
  ForwarderThread(const ForwarderOptions& options, storage::Store& store, const Clock& clock,
                  MetricRegistry& metrics)
      : identity_{options.node, store.id().text()},
        drain_ms_(options.drain_ms),
        store_(store),
        clock_(clock),
        metrics_(metrics) {
    budget_.limit = options.max_memory_bytes;
  }
  ~ForwarderThread() override { stop(); }

  Status begin(const ForwarderOptions& options) {
    const auto lanes = [&]() -> Status {
      for (const DestinationOptions& destination : options.destinations)
        WEIR_RETURN_IF_ERROR(ensure_lane(store_, destination));
      return {};
    };
    WEIR_RETURN_IF_ERROR(reconfigure(options.destinations, {}, lanes));
    client_ = store_.make_lane_client(marks_);
    take_change();
    publish_status();
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "weir-forward");
      ignore_broken_pipes();
      run();
    });
    return {};
  }

  void stop() override {
    if (!thread_.joinable()) return;
    stopping_.store(true);
    marks_.notify();
    thread_.join();
    if (subscribed_) store_.unsubscribe(commits_);
    publish_status();
  }

  void wake() override {
    look_for_requeued_.store(true);
    marks_.notify();
  }

  std::vector<LaneStatus> status() const override {
    const std::lock_guard lock(status_mutex_);
    return status_;
  }

  Status reconfigure(const std::vector<DestinationOptions>& destinations,
                     const std::set<std::string>& changed, FunctionRef<Status()> commit) override {
    WEIR_ASSIGN_OR_RETURN(auto change, prepare(destinations, changed));
    WEIR_RETURN_IF_ERROR(commit());
    names_ = change->names;
    {
      const std::lock_guard lock(status_mutex_);
      filters_ = change->filters;
      merge(change_, std::move(change));
    }
    marks_.notify();
    return {};
  }

  std::optional<bool> wants(std::string_view destination, std::string_view record) const override {
    EventFields fields;
    const std::lock_guard lock(status_mutex_);
    const auto filter = filters_.find(destination);
    if (filter == filters_.end() || !decode_event_record(record, &fields)) return std::nullopt;
    return !fields.sandbox && filter->second.wants(fields);
  }

 private:
  // Destinations that start, and the names of all there are from then on.
  struct Change {
    std::set<std::string> names;
    std::map<std::string, EventFilter, std::less<>> filters;
    std::vector<DestinationOptions> options;
    std::vector<std::unique_ptr<Destination>> destinations;

    bool starts(const std::string& name) const {
      return std::any_of(options.begin(), options.end(),
                         [&](const auto& starting) { return starting.name == name; });
    }
  };

  // One change behind another that was not carried out yet: what the older one starts and the
  // newer one keeps is started by the newer one.
  static void merge(std::unique_ptr<Change>& waiting, std::unique_ptr<Change> newer) {
    for (size_t i = 0; waiting != nullptr && i < waiting->options.size(); ++i) {
      const std::string& name = waiting->options[i].name;
      if (!newer->names.contains(name) || newer->starts(name)) continue;
      newer->options.push_back(std::move(waiting->options[i]));
      newer->destinations.push_back(std::move(waiting->destinations[i]));
    }
    waiting = std::move(newer);
  }

  // Makes what is new or changed, as far as it can fail.
  Result<std::unique_ptr<Change>> prepare(const std::vector<DestinationOptions>& destinations,
                                          const std::set<std::string>& changed) {
    auto change = std::make_unique<Change>();
    for (const DestinationOptions& options : destinations) {
      WEIR_RETURN_IF_ERROR(check_destination(options, &change->names));
      change->filters.emplace(options.name, EventFilter(options));
      if (names_.contains(options.name) && !changed.contains(options.name)) continue;
      WEIR_ASSIGN_OR_RETURN(change->destinations.emplace_back(),
                            make_destination(options, identity_, clock_));
      change->options.push_back(options);
    }
    return change;
  }

  // A lane that goes, or starts again with other options, cuts off its requests and waits for its
  // marks and for the end of its destination; only then another one may begin under its name.
  void take_change() {
    {
      const std::lock_guard lock(status_mutex_);
      if (change_ != nullptr) merge(starting_, std::move(change_));
    }
    if (starting_ == nullptr && leaving_.empty()) return;
    if (starting_ != nullptr) {
      for (auto& lane : lanes_) {
        if (starting_->names.contains(lane->name()) && !starting_->starts(lane->name())) continue;
        lane->abandon();
        leaving_.push_back(std::move(lane));
      }
      std::erase(lanes_, nullptr);
    }
    let_go();
    if (!leaving_.empty() || starting_ == nullptr) return;
    start_lanes(*starting_);
    if (starting_->options.empty()) starting_ = nullptr;
    if (subscribed_ == lanes_.empty()) {
      subscribed_ = !lanes_.empty();
      subscribed_ ? store_.subscribe(commits_) : store_.unsubscribe(commits_);
    }
    status_due_ns_ = 0;
  }

  void let_go() {
    for (auto& lane : leaving_) {
      if (!lane->marked()) continue;
      auto destination = lane->give_up_destination();
      std::string name = lane->name();
      lane.reset();
      reaper_.take(std::move(name), std::move(destination));
    }
    std::erase(leaving_, nullptr);
  }

  // Those whose predecessor has ended; the others stay in `starting`.
  void start_lanes(Change& starting) {
    for (size_t i = 0; i < starting.options.size();) {
      if (reaper_.holds(starting.options[i].name)) {
        ++i;
        continue;
      }
      lanes_.push_back(std::make_unique<Lane>(
          starting.options[i], Lane::Surroundings{store_, *client_, clock_, metrics_, budget_},
          std::move(starting.destinations[i])));
      lanes_.back()->start();
      starting.options.erase(starting.options.begin() + static_cast<std::ptrdiff_t>(i));
      starting.destinations.erase(starting.destinations.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  // The drain loop. Everything a lane does happens here, in this order; nothing of it blocks.
  void run() {
    while (!finished()) {
      for (auto* update = client_->take_outcomes(); update != nullptr;) {
        auto* const next = update->next;
        static_cast<Lane*>(update->context)->on_mark(*update);
        update = next;
      }
      take_change();
      const bool look = look_for_requeued_.exchange(false);
      for (const auto& lane : lanes_) {
        if (abandoned_) continue;  // only marks are waited for
        if (look) lane->look_for_requeued();
        lane->begin_turn();
        lane->take_outcomes();  // an answer -> mark
        lane->read_ahead();     // cursor -> batch, made durable
        lane->send_due();       // durable batch -> send
      }
      refresh_status();
      wait();
    }
  }

  // After stop(): what can be sent is sent for drain_ms, then requests in flight are cut off, then
  // the marks that are on their way are waited for.
  bool finished() {
    if (!stopping_.load()) return false;
    const int64_t now = clock_.monotonic_ns();
    if (drain_until_ns_ == INT64_MAX) {
      drain_until_ns_ = now + drain_ms_ * 1'000'000;
      for (const auto& lane : lanes_) lane->start_draining();
      return false;
    }
    if (!abandoned_ && all_lanes(&Lane::drained)) return true;
    if (now < drain_until_ns_) return false;
    if (!abandoned_)
      for (const auto& lane : lanes_) lane->abandon();
    abandoned_ = true;
    return (all_lanes(&Lane::marked) && leaving_.empty()) ||
           now >= drain_until_ns_ + kMarkGraceMs * 1'000'000;
  }

  // OpenSSL writes to sockets without MSG_NOSIGNAL, and curl leaves the signal to us.
  static void ignore_broken_pipes() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  }

  bool all_lanes(bool (Lane::*what)() const) const {
    return std::all_of(lanes_.begin(), lanes_.end(),
                       [&](const auto& lane) { return (lane.get()->*what)(); });
  }

  // Until a mark came back, the store committed, a destination has news, or a deadline.
  void wait() {
    const int64_t now = clock_.monotonic_ns();
    int64_t deadline = status_due_ns_;
    poll_set_.clear();
    poll_set_.push_back({marks_.fd(), POLLIN, 0});
    if (now >= commits_quiet_until_ns_)
      poll_set_.push_back({commits_.fd(), POLLIN, 0});
    else
      deadline = std::min(deadline, commits_quiet_until_ns_);
    if (stopping_.load()) deadline = std::min(deadline, now + kDrainLookMs * 1'000'000);
    for (const auto& lane : lanes_) {
      if (abandoned_) break;
      deadline = std::min(deadline, lane->deadline_ns());
      poll_set_.push_back({lane->poll_fd(), POLLIN, 0});
    }
    const int64_t wait_ns = std::max<int64_t>(deadline - now, 0);
    const timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    ppoll(poll_set_.data(), poll_set_.size(), &timeout, nullptr);  // EINTR: one turn more
    marks_.reset();
    if (now >= commits_quiet_until_ns_ && poll_set_[1].revents != 0) {
      commits_.reset();
      commits_quiet_until_ns_ = clock_.monotonic_ns() + kCommitQuietMs * 1'000'000;
    }
  }

  void refresh_status() {
    const int64_t now = clock_.monotonic_ns();
    if (now < status_due_ns_ && !stopping_.load()) return;
    status_due_ns_ = now + kStatusMs * 1'000'000;
    publish_status();
  }

  void publish_status() {
    std::vector<LaneStatus> fresh;
    for (const auto& lane : lanes_) {
      lane->publish_gauges();
      fresh.push_back(lane->status());
    }
    const std::lock_guard lock(status_mutex_);
    status_ = std::move(fresh);
  }

  const Identity identity_;
  const int64_t drain_ms_;
  storage::Store& store_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  Budget budget_;
  Wakeup marks_;    // marks came back; also stop() and wake()
  Wakeup commits_;  // the store committed
  Reaper reaper_{marks_};
  std::unique_ptr<storage::LaneClient> client_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::unique_ptr<Lane>> leaving_;  // removed or changed; their marks are on the way
  std::unique_ptr<Change> starting_;            // waits for those and for their destinations' end
  bool subscribed_ = false;
  std::vector<pollfd> poll_set_;
  int64_t commits_quiet_until_ns_ = 0;
  int64_t status_due_ns_ = 0;
  int64_t drain_until_ns_ = INT64_MAX;
  bool abandoned_ = false;

  std::atomic<bool> stopping_{false};
  std::atomic<bool> look_for_requeued_{false};
  std::set<std::string> names_;      // configured; of whoever calls reconfigure()
  mutable std::mutex status_mutex_;  // the next three
  std::vector<LaneStatus> status_;
  std::map<std::string, EventFilter, std::less<>> filters_;
  std::unique_ptr<Change> change_;  // not yet seen by the thread
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Forwarder>> Forwarder::start(const ForwarderOptions& options,
                                                    storage::Store& store, const Clock& clock,
                                                    MetricRegistry& metrics) {
  auto forwarder = std::make_unique<ForwarderThread>(options, store, clock, metrics);
  WEIR_RETURN_IF_ERROR(forwarder->begin(options));
  return forwarder;
}

}  // namespace weir::forwarder
