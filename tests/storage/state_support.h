// What the tests of the state half share: a directory of their own, a log that is a plain list, and
// a lane owner that waits for its updates.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "storage/base/log.h"
#include "storage/base/wakeup.h"
#include "storage/dead_letters.h"
#include "storage/state.h"

namespace weir::storage {

// kMemory: for tests of what a killed process leaves, where the page cache is the disk.
enum class Medium : uint8_t { kDisk, kMemory };

class TempDirectory {
 public:
  explicit TempDirectory(Medium medium = Medium::kDisk) {
    std::string parent = std::filesystem::temp_directory_path().string();
    if (medium == Medium::kMemory && access("/dev/shm", W_OK) == 0) parent = "/dev/shm";
    std::string pattern = parent + "/weir-state-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Every event of every shard, as the log half would know it.
class FakeLog final : public LogView {
 public:
  explicit FakeLog(unsigned shards = 1) : tenants_(shards), first_(shards, 1) {}

  void append(unsigned shard, const std::string& tenant) { tenants_[shard].push_back(tenant); }
  void fill(unsigned shard, size_t events, const std::string& tenant = "t") {
    for (size_t i = 0; i < events; ++i) append(shard, tenant);
  }
  void remove_below(unsigned shard, uint64_t first) { first_[shard] = first; }
  const std::string& tenant(unsigned shard, uint64_t number) const {
    return tenants_[shard][number - 1];
  }

  unsigned shards() const override { return static_cast<unsigned>(tenants_.size()); }
  uint64_t first(unsigned shard) const override { return first_[shard]; }
  uint64_t end(unsigned shard) const override { return tenants_[shard].size() + 1; }
  Status count(unsigned shard, uint64_t first, uint64_t last, TenantCounts* into) const override {
    for (uint64_t n = std::max(first, first_[shard]); n <= last && n < end(shard); ++n) {
      ++into->events;
      ++into->tenants[tenant(shard, n)];
    }
    return {};
  }
  int64_t received_ms(unsigned shard, uint64_t number) const override {
    number = std::max(number, first_[shard]);
    return number < end(shard) ? 1'000 + static_cast<int64_t>(number) : 0;
  }
  TenantCounts counted(unsigned shard, uint64_t first, uint64_t last) const {
    TenantCounts counts;
    EXPECT_TRUE(count(shard, first, last, &counts));
    return counts;
  }

 private:
  std::vector<std::vector<std::string>> tenants_;
  std::vector<uint64_t> first_;
};

// Submits updates and waits for them.
class LaneOwner {
 public:
  explicit LaneOwner(State& state) : client_(state.make_lane_client(wakeup_)) {}

  Status mark(LaneUpdate& update) {
    client_->submit(update);
    for (;;) {
      if (LaneUpdate* back = client_->take_outcomes()) {
        EXPECT_EQ(back, &update);
        return back->outcome;
      }
      wakeup_.wait(100'000'000);
    }
  }
  LaneClient& client() { return *client_; }
  Wakeup& wakeup() { return wakeup_; }

 private:
  Wakeup wakeup_;
  std::unique_ptr<LaneClient> client_;
};

inline LaneUpdate update_of(const std::string& lane) {
  LaneUpdate update;
  update.lane = lane;
  return update;
}

inline LaneOptions lane_options(const std::string& name, LaneKind kind = LaneKind::kDestination) {
  LaneOptions options;
  options.name = name;
  options.kind = kind;
  return options;
}

inline OpenRange range_of(uint64_t number, uint64_t first, uint64_t last, uint16_t shard = 0) {
  OpenRange range;
  range.number = number;
  range.shard = shard;
  range.first = first;
  range.last = last;
  return range;
}

inline DeadLetter letter_of(uint64_t number, const std::string& reason = "http_400",
                            const std::string& tenant = "t", uint16_t shard = 0) {
  DeadLetter letter;
  letter.position = {shard, number};
  letter.tenant = tenant;
  letter.event_id = "event-" + std::to_string(number);
  letter.event_name = "page";
  letter.reason = reason;
  letter.status = 400;
  letter.attempts = 1;
  letter.payload = "payload of " + std::to_string(number);
  return letter;
}

// A store's state half in a directory, opened and started with what a test gives.
struct StateFixture {
  StoreOptions options;
  std::unique_ptr<ManualClock> clock = std::make_unique<ManualClock>();
  std::unique_ptr<MetricRegistry> metrics = std::make_unique<MetricRegistry>();
  std::unique_ptr<State> state;
  std::optional<StoreIdentity> segments;  // what the segments would say
  std::vector<uint64_t> ends;

  explicit StateFixture(const std::string& directory) {
    log::configure({log::Level::kError, log::Format::kLogfmt});  // warnings are what is tested
    options.directory = directory;
    options.state_bytes = 4 << 20;
    options.lanes = {lane_options("saas")};
  }
  StateFixture(StateFixture&&) = default;
  ~StateFixture() {
    if (state) state->stop();
  }

  Status open() {
    state.reset();
    auto opened = State::open(options, *clock, *metrics,
                              [&]() -> Result<std::optional<StoreIdentity>> { return segments; });
    if (!opened) return tl::unexpected(opened.error());
    state = std::move(*opened);
    return state->start(options.lanes, ends);
  }
  Status reopen() {
    state->stop();
    return open();
  }
};

// Runs child() in a forked process, which ends by itself or kills itself. Returns the wait status.
inline int run_in_child(const std::function<void()>& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    child();
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

[[noreturn]] inline void die_now() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

}  // namespace weir::storage
