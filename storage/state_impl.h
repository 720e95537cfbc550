// The State behind state.h: its members and who may touch them. state.cc starts, stops, reads and
// copies; state_thread.cc is what happens on the state thread.
// Path: warm (per batch).  Thread: as said at each group of members.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/base/mailbox.h"
#include "storage/base/wakeup.h"
#include "storage/dead_letters.h"
#include "storage/state.h"
#include "storage/state_file.h"
#include "storage/state_work.h"

namespace weir::storage {

class StateImpl;

class LaneClientImpl final : public LaneClient {
 public:
  LaneClientImpl(StateImpl& state, Wakeup& wakeup) : state_(state), wakeup_(wakeup) {}
  ~LaneClientImpl() override;
  void submit(LaneUpdate& update) override;
  LaneUpdate* take_outcomes() override;

 private:
  friend class StateImpl;
  StateImpl& state_;
  Wakeup& wakeup_;
  Mailbox<LaneUpdate> submitted_;
  Mailbox<LaneUpdate> outcomes_;
  std::atomic<int64_t> lent_{0};
};

class StateImpl final : public State {
 public:
  StateImpl(OpenedState opened, const StoreOptions& options, const Clock& clock,
            MetricRegistry& metrics);
  ~StateImpl() override { stop(); }

  Status open_dead_letters();

  const StoreIdentity& identity() const override { return identity_; }
  StateOrigin origin() const override { return origin_; }
  bool was_clean_stop() const override { return was_clean_; }
  Status start(const std::vector<LaneOptions>& lanes, const std::vector<uint64_t>& ends) override;
  void stop(bool clean) override;
  using State::stop;
  Status failure() const override;

  Result<LaneState> lane(std::string_view name) const override;
  std::vector<LaneState> lanes() const override;
  std::unique_ptr<LaneClient> make_lane_client(Wakeup& wakeup) override;
  Status create_lane(const LaneOptions& lane, const std::vector<uint64_t>& ends) override;
  Status delete_lane(std::string_view name) override;
  Status configure_lanes(const std::vector<LaneOptions>& lanes,
                         const std::vector<uint64_t>& ends) override;
  Result<uint64_t> requeue_expired(std::string_view lane, const std::vector<ExpiredRange>& ranges,
                                   const LogView& log) override;
  Result<Replayed> replay(std::string_view lane, const std::vector<ReplayRange>& ranges,
                          const LogView& log) override;
  uint64_t next_batch_number() override;
  Result<std::vector<DeliveryRow>> deliveries(std::string_view lane,
                                              Position position) const override;
  Result<std::vector<ExpiredRange>> expired(std::string_view lane) const override;
  DeadLetters& dead_letters() override { return *letters_; }
  const DeadLetters& dead_letters() const override { return *letters_; }

  ShardPast past(unsigned shard) const override;
  std::vector<RetentionLane> retention_lanes() const override;
  Status expire(const std::vector<Expiry>& expiries, const LogView& log) override;
  Status trim(const SegmentTrim& trim, const LogView& log) override;
  StateSnapshot snapshot() const override;
  Status write_copy() override;

 private:
  friend class LaneClientImpl;
  using Operation = std::function<Status(StateWork&)>;
  struct Task {
    const Operation* operation = nullptr;
    Status outcome;
    bool done = false;
  };

  // ---- state thread (or the opening one, before it runs)
  void run();
  bool serve_clients();
  void serve_tasks();
  std::vector<LaneUpdate*> take_batch(std::deque<LaneUpdate*>& waiting);
  void apply_batch(const std::vector<LaneUpdate*>& batch);
  Status commit_updates(const std::vector<LaneUpdate*>& batch);
  Status commit_update_with_letters(LaneUpdate& update);
  Status in_transaction(const Operation& operation);
  Status attempt(const Operation& operation);
  Status classify(Error error);
  Status shed_deliveries();
  Status reserve_batches(StateWork& work, uint64_t at_least);
  bool wants_batches() const;
  bool fill_ahead();
  uint64_t max_rows(size_t lanes) const;
  void hand_back(LaneUpdate* update, Status outcome);
  Status add_configured_lane(StateWork& work, const LaneOptions& lane,
                             const std::vector<uint64_t>& ends);
  Status configure(StateWork& work, const std::vector<LaneOptions>& lanes,
                   const std::vector<uint64_t>& ends);

  // ---- any thread
  Status run_on_thread(const Operation& operation);
  bool is_idle(const LaneRecord& record) const;
  void count_expired(const std::string& lane, const std::string& reason, uint64_t events);
  void copy_loop();

  StoreOptions options_;
  const Clock& clock_;
  MetricRegistry& metrics_;
  StoreIdentity identity_;
  StateOrigin origin_;
  bool was_clean_;
  int64_t started_ns_ = 0;
  LmdbFile file_;
  PublishedState published_;
  std::unique_ptr<DeadLetters> letters_;

  // State thread.
  DeliveryCounts delivery_counts_;
  uint64_t unfilled_from_;
  uint64_t dead_letter_mark_;
  uint64_t reserved_batches_;
  uint32_t next_lane_id_ = 1;
  std::map<LaneUpdate*, LaneClientImpl*> owners_;
  Histogram& commit_seconds_;

  std::atomic<uint64_t> next_batch_;
  std::atomic<uint64_t> commits_{0};
  uint64_t copied_at_commit_ = 0;

  Wakeup wakeup_;
  std::mutex clients_mutex_;
  std::vector<LaneClientImpl*> clients_;

  mutable std::mutex mutex_;  // what follows
  std::condition_variable changed_;
  std::deque<Task*> tasks_;
  Status failure_;
  bool running_ = false;
  bool stopping_ = false;
  std::atomic<bool> stopped_{false};
  std::mutex copy_mutex_;             // one copy at a time
  mutable std::mutex decided_mutex_;  // letters and the positions that belong to them change as one
  std::mutex expired_mutex_;
  std::map<std::pair<std::string, std::string>, Counter*> expired_counters_;

  std::thread thread_;
  std::thread copy_thread_;
};

}  // namespace weir::storage
