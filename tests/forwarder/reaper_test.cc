#include "forwarder/reaper.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

namespace weir::forwarder {
namespace {

// Whoever ends it waits until the test lets it.
class Gate {
 public:
  void open() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class BlockingEnd : public Destination {
 public:
  explicit BlockingEnd(Gate& gate) : gate_(gate) {}
  ~BlockingEnd() override { gate_.pass(); }
  std::unique_ptr<Encoder> make_encoder() override { return nullptr; }
  void send(Send&) override {}
  Send* take_finished() override { return nullptr; }
  void abandon() override {}
  int poll_fd() const override { return -1; }
  int64_t deadline_ns() const override { return INT64_MAX; }

 private:
  Gate& gate_;
};

TEST(Reaper, NobodyWaitsForAnEndButItsSuccessor) {
  Wakeup ended;
  Gate stuck, quick;
  Reaper reaper(ended);
  reaper.take("stuck", std::make_unique<BlockingEnd>(stuck));
  reaper.take("quick", std::make_unique<BlockingEnd>(quick));
  EXPECT_TRUE(reaper.holds("stuck"));
  EXPECT_TRUE(reaper.holds("quick"));
  EXPECT_FALSE(reaper.holds("other"));
  quick.open();
  while (reaper.holds("quick")) ended.wait(1'000'000'000);
  EXPECT_TRUE(reaper.holds("stuck"));
  stuck.open();
  while (reaper.holds("stuck")) ended.wait(1'000'000'000);
}

TEST(Reaper, ItsOwnEndWaitsForAllOfThem) {
  Wakeup ended;
  Gate gate;
  std::thread opener;
  {
    Reaper reaper(ended);
    reaper.take("one", std::make_unique<BlockingEnd>(gate));
    opener = std::thread([&] { gate.open(); });
  }
  opener.join();
}

}  // namespace
}  // namespace weir::forwarder
