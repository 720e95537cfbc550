// The loop: tasks, timers, turn hooks, wake-ups from other threads, stopping, interruptions.
#include "collector/reactor/loop.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "storage/base/mailbox.h"
#include "tests/collector/reactor/loop_fixture.h"
#include "tests/collector/reactor/run_program.h"

namespace weir::reactor {
namespace {

class LoopOnlyTest : public LoopTest {
 protected:
  // Runs the loop on this thread until something calls stop().
  void run_here() {
    std::thread([this] { loop_->run(); }).join();
  }
};

class LambdaTask : public Task {
 public:
  explicit LambdaTask(std::function<void()> work) : work_(std::move(work)) {}
  void run() override { work_(); }

 private:
  std::function<void()> work_;
};

class LambdaTimer : public Timer {
 public:
  explicit LambdaTimer(std::function<void()> fire) : fire_(std::move(fire)) {}
  void on_timer() override { fire_(); }

 private:
  std::function<void()> fire_;
};

class LambdaHook : public TurnHook {
 public:
  explicit LambdaHook(std::function<void()> hook) : hook_(std::move(hook)) {}
  void before_sleep() override { hook_(); }

 private:
  std::function<void()> hook_;
};

TEST_F(LoopOnlyTest, RefusesImpossibleSizes) {
  options_.receive_buffers = 3;
  const auto loop = Loop::create(options_, metrics_);
  ASSERT_FALSE(loop.has_value());
  EXPECT_EQ(loop.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(LoopOnlyTest, ReportsWhatTheKernelOffers) {
  const IoUringReport report = probe_io_uring();
  EXPECT_TRUE(report.usable);
  EXPECT_FALSE(report.kernel.empty());
  EXPECT_THAT(report.features, testing::HasSubstr("defer_taskrun"));
}

TEST_F(LoopOnlyTest, RunsATaskDeferredTwiceOnceAndInTheNextTurn) {
  make_loop();
  int turns = 0;
  std::vector<int> runs;  // the turn in which each run happened
  LambdaHook hook([&] { ++turns; });
  LambdaTask task([&] {
    runs.push_back(turns);
    if (runs.size() == 3) return loop_->stop();
    loop_->defer(task);
    loop_->defer(task);
  });
  loop_->add_turn_hook(hook);
  loop_->defer(task);
  loop_->defer(task);
  run_here();
  EXPECT_EQ(runs, (std::vector<int>{0, 1, 2}));
}

TEST_F(LoopOnlyTest, ForgetsATaskThatIsDestroyed) {
  make_loop();
  bool ran = false;
  auto doomed = std::make_unique<LambdaTask>([&] { ran = true; });
  LambdaTask killer([&] { doomed.reset(); });
  LambdaTask last([&] { loop_->stop(); });
  loop_->defer(killer);
  loop_->defer(*doomed);
  loop_->defer(last);
  run_here();
  EXPECT_FALSE(ran);
}

TEST_F(LoopOnlyTest, FiresTimersOnTimeWithoutBusyWaiting) {
  make_loop();
  int64_t armed_at = 0;
  int64_t fired_at = 0;
  LambdaTimer timer([&] {
    fired_at = loop_->now_ns();
    loop_->stop();
  });
  LambdaTask begin([&] {
    armed_at = loop_->now_ns();
    loop_->arm(timer, 50'000'000);
  });
  loop_->defer(begin);
  run_here();
  EXPECT_GE(fired_at - armed_at, 50'000'000);
  EXPECT_LT(fired_at - armed_at, 5'000'000'000);
  EXPECT_LT(metric(Metric::kReactorTurns), 20);
}

TEST_F(LoopOnlyTest, TellsTimeOncePerTurn) {
  make_loop();
  int64_t seen = 0;
  LambdaTask second([&] {
    EXPECT_GT(loop_->now_ns(), seen);
    loop_->stop();
  });
  LambdaTask first([&] {
    seen = loop_->now_ns();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(loop_->now_ns(), seen);
    EXPECT_NEAR(static_cast<double>(loop_->wall_ms()), static_cast<double>(time(nullptr)) * 1000,
                5000.0);
    loop_->defer(second);
  });
  loop_->defer(first);
  run_here();
}

TEST_F(LoopOnlyTest, NamesAndPinsItsThread) {
  options_.cpu = 0;
  make_loop();
  char name[16] = "";
  int cpu = -1;
  LambdaTask look([&] {
    pthread_getname_np(pthread_self(), name, sizeof name);
    cpu = sched_getcpu();
    loop_->stop();
  });
  loop_->defer(look);
  run_here();
  EXPECT_STREQ(name, "test");
  EXPECT_EQ(cpu, 0);
}

struct Message {
  Message* next = nullptr;
  int value = 0;
};

TEST_F(LoopOnlyTest, AsksForShortSlicesAndKeepsItsNiceValue) {
  options_.slice_ns = 200'000;
  make_loop();
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{};
  LambdaTask task([&] {
    EXPECT_EQ(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0), 0);
    loop_->stop();
  });
  loop_->defer(task);
  std::thread([this] {
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 3);
    loop_->run();
  }).join();
  EXPECT_EQ(attributes.nice, 3);
  EXPECT_EQ(attributes.policy, static_cast<uint32_t>(SCHED_OTHER));
  if (attributes.runtime == 0) GTEST_SKIP() << "this kernel knows no slices";
  EXPECT_EQ(attributes.runtime, 200'000u);
}

TEST_F(LoopOnlyTest, MissesNoWakeUpFromOtherThreads) {
  constexpr int kThreads = 3;
  constexpr int kMessages = 20'000;
  make_loop();
  Mailbox<Message> mailbox;
  int64_t sum = 0;
  int count = 0;
  loop_->on_wakeup([&] {
    for (Message* message = mailbox.take_all(); message != nullptr; message = message->next) {
      sum += message->value;
      ++count;
    }
    if (count == kThreads * kMessages) loop_->stop();
  });
  std::vector<std::vector<Message>> messages(kThreads, std::vector<Message>(kMessages));
  std::vector<std::thread> senders;
  for (auto& mine : messages)
    senders.emplace_back([&] {
      for (int i = 0; i < kMessages; ++i) {
        mine[i].value = i;
        if (mailbox.push(&mine[i])) loop_->wakeup().notify();
      }
    });
  run_here();
  for (auto& sender : senders) sender.join();
  EXPECT_EQ(count, kThreads * kMessages);
  EXPECT_EQ(sum, int64_t{kThreads} * kMessages * (kMessages - 1) / 2);
}

TEST_F(LoopOnlyTest, ClosesOpenConnectionsWhenItStops) {
  const std::string big = pattern_bytes(8 << 20);
  // Some idle, some with a send that cannot finish, some paused with bytes waiting.
  listen([&](Stream& stream) {
    auto* handler = new EchoHandler(stream, seen_);
    if (seen_.opened % 3 == 1) stream.send(big);
    if (seen_.opened % 3 == 2) stream.pause_receiving();
    return handler;
  });
  start();
  constexpr int kConnections = 60;
  std::vector<Client> clients;
  for (int i = 0; i < kConnections; ++i) {
    clients.emplace_back(port(), 4096);
    clients.back().write("waiting");
  }
  ASSERT_TRUE(eventually([&] { return seen_.opened == kConnections; }));
  stop();
  EXPECT_EQ(seen_.closed, kConnections);
  EXPECT_EQ(metric(Metric::kConnectionsOpen), 0);
  EXPECT_EQ(metric(Metric::kReactorStaleCompletions), 0);
}

TEST_F(LoopOnlyTest, StopsEvenWhenTheKernelDoesNotLetGoInTime) {
  options_.close_timeout_ns = 0;
  listen_and_echo();
  start();
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back(port());
    clients.back().write("x");
    ASSERT_EQ(clients.back().read(1), "x");
  }
  stop();
  EXPECT_EQ(seen_.closed, 10);
}

TEST_F(LoopOnlyTest, CanBeStoppedBeforeItRuns) {
  listen_and_echo();
  loop_->stop();
  run_here();
  EXPECT_EQ(seen_.opened, 0);
}

TEST_F(LoopOnlyTest, CanBeDestroyedWithoutRunning) {
  listen_and_echo();
  LambdaTimer timer([] {});
  LambdaTask task([] {});
  loop_->arm(timer, 1'000'000'000);
  loop_->defer(task);
  loop_.reset();
  EXPECT_FALSE(timer.armed());
  EXPECT_FALSE(task.queued());
}

// Also the inner half of the next test, which runs it with interrupted system calls.
TEST_F(LoopOnlyTest, EchoesThroughInterruptions) {
  listen_and_echo();
  start();
  for (int i = 0; i < 5; ++i) {
    Client client(port());
    const std::string bytes = pattern_bytes(50'000);
    std::thread writer([&] { client.write(bytes); });
    EXPECT_TRUE(client.read(bytes.size()) == bytes);
    writer.join();
    client.shutdown_write();
    EXPECT_TRUE(client.at_eof());
  }
  stop();
  EXPECT_EQ(seen_.closed, 5);
  if (std::getenv("WEIR_TEST_EXPECT_RETRIES") != nullptr) {
    EXPECT_GT(metric(Metric::kReactorEnterRetries), 0);
  }
}

TEST_F(LoopOnlyTest, SurvivesInterruptedSystemCalls) {
  if (!can_trace()) GTEST_SKIP() << "strace is missing or may not trace here";
  setenv("WEIR_TEST_EXPECT_RETRIES", "1", 1);
  setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // the leak check cannot run while traced
  char self[4096] = "";
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  EXPECT_EQ(run_program({"strace", "-f", "-o", "/dev/null", "-e", "trace=io_uring_enter", "-e",
                         "inject=io_uring_enter:error=EINTR:when=1+2", self,
                         "--gtest_filter=LoopOnlyTest.EchoesThroughInterruptions"}),
            0);
  unsetenv("WEIR_TEST_EXPECT_RETRIES");
}

}  // namespace
}  // namespace weir::reactor
