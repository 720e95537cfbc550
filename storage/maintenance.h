// What the store does beside writing and reading, on one thread: watches for a sync that hangs,
// prepares successors, seals (sidecars), applies retention, notices a full disk and its end,
// publishes gauges.
// Path: cold.  Thread: its own; wake() is for any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "storage/admission.h"
#include "storage/base/clock.h"
#include "storage/base/metrics.h"
#include "storage/base/wakeup.h"
#include "storage/log_reader.h"
#include "storage/recovery.h"
#include "storage/segment_set.h"
#include "storage/state.h"
#include "storage/store.h"
#include "storage/writer.h"

namespace weir::storage {

class Maintenance {
 public:
  struct Parts {
    const StoreOptions& options;
    const Clock& clock;
    MetricRegistry& metrics;
    Admission& admission;
    std::atomic<Pressure>& pressure;
    const SharedPressureLimits& pressure_limits;
    State& state;
    LogReader& log;
    std::vector<SegmentSet*> sets;
    std::vector<Writer*> writers;
  };
  Maintenance(const Parts& parts, std::vector<OrphanSidecar> orphans);
  ~Maintenance();

  void start();
  void stop();  // idempotent
  void wake() {
    retention_wanted_.store(true, std::memory_order_relaxed);
    wakeup_.notify();
  }
  void wake_to_fill() { wakeup_.notify(); }  // only zeros are due
  std::string pressure_detail() const;       // any thread

 private:
  struct ShardGauges {
    Gauge& events;
    Gauge& bytes;
    Gauge& active;
    Gauge& sealed;
    Gauge& damaged;
    Gauge& dedupe_entries;
    Gauge& dedupe_window;
    Gauge& dedupe_bytes;
  };

  void run();
  bool busy() const;
  void watch_commits();
  void prepare_successors();
  bool fill_successors();
  void write_sidecars();
  void retain();
  RetentionInput describe(uint64_t disk_free);
  void apply(const RetentionPlan& plan);
  bool delete_segment(const Deletion& deletion);
  Counter& deleted_counter(std::string_view reason);
  void judge_disk(const RetentionPlan& plan, uint64_t disk_free);
  void judge_pressure(const RetentionPlan& plan);
  void delete_orphans();
  void publish(uint64_t disk_free);

  Parts parts_;
  uint64_t max_bytes_ = 0;
  std::vector<OrphanSidecar> orphans_;
  std::thread thread_;
  Wakeup wakeup_;
  std::atomic<bool> retention_wanted_{false};
  std::atomic<bool> stopping_{false};
  int64_t retained_ns_ = 0;
  uint64_t free_bytes_ = 0;  // at that time
  int64_t disk_full_since_ns_ = 0;
  PressureSteps disk_pressure_;
  PressureSteps lag_pressure_;
  mutable std::mutex detail_mutex_;
  std::string pressure_detail_;
  std::vector<ShardGauges> gauges_;
  Gauge& accepting_;
  Gauge& disk_free_;
  Gauge& max_bytes_gauge_;
  Gauge& oldest_pending_;
  Gauge& disk_percent_;
  Gauge& lag_percent_;
  Gauge& pressure_level_;
  std::map<std::string, Counter*, std::less<>> deleted_;  // by reason
};

}  // namespace weir::storage
