// The timer wheel against hand-set time, and against a plain sorted model under random operations.
#include "collector/reactor/timer_wheel.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace weir::reactor {
namespace {

constexpr int64_t kTick = TimerWheel::kTickNs;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStart = 123'456'789;

class LambdaTimer : public Timer {
 public:
  explicit LambdaTimer(std::function<void()> fire) : fire_(std::move(fire)) {}
  void on_timer() override { fire_(); }

 private:
  std::function<void()> fire_;
};

TEST(TimerWheelTest, FiresNeverEarlyAndAtMostATickLate) {
  for (const int64_t delay : {int64_t{0}, int64_t{1}, kTick - 1, kTick, 63 * kTick, 64 * kTick,
                              65 * kTick, 4095 * kTick, 4096 * kTick, 1'000'000 * kTick}) {
    TimerWheel wheel(kStart);
    int fired = 0;
    LambdaTimer timer([&] { ++fired; });
    wheel.arm(timer, kStart + delay);
    EXPECT_TRUE(timer.armed());
    wheel.expire(kStart + delay - 1);
    EXPECT_EQ(fired, 0) << delay;
    wheel.expire(kStart + delay + kTick);
    EXPECT_EQ(fired, 1) << delay;
    EXPECT_FALSE(timer.armed());
    wheel.expire(kStart + 2 * delay + 10 * kTick);
    EXPECT_EQ(fired, 1) << delay;
  }
}

TEST(TimerWheelTest, FiresInTheOrderOfDeadlines) {
  TimerWheel wheel(kStart);
  std::vector<int> order;
  std::vector<std::unique_ptr<LambdaTimer>> timers;
  const int64_t delays_ms[] = {90'000, 20, 500, 5, 3'600'000, 1000};
  for (int i = 0; i < 6; ++i) {
    timers.push_back(std::make_unique<LambdaTimer>([&order, i] { order.push_back(i); }));
    wheel.arm(*timers.back(), kStart + delays_ms[i] * kMs);
  }
  wheel.expire(kStart + 4'000'000 * kMs);  // all in one late step
  EXPECT_EQ(order, (std::vector<int>{3, 1, 2, 5, 0, 4}));
}

TEST(TimerWheelTest, ForgetsCancelledAndDestroyedTimers) {
  TimerWheel wheel(kStart);
  int fired = 0;
  LambdaTimer cancelled([&] { ++fired; });
  wheel.arm(cancelled, kStart + 10 * kMs);
  TimerWheel::cancel(cancelled);
  TimerWheel::cancel(cancelled);
  EXPECT_FALSE(cancelled.armed());
  {
    LambdaTimer destroyed([&] { ++fired; });
    wheel.arm(destroyed, kStart + 10 * kMs);
  }
  EXPECT_EQ(wheel.next_deadline_ns(), -1);
  wheel.expire(kStart + 100 * kMs);
  EXPECT_EQ(fired, 0);
}

TEST(TimerWheelTest, MovesATimerThatIsArmedAgain) {
  TimerWheel wheel(kStart);
  int fired = 0;
  LambdaTimer timer([&] { ++fired; });
  wheel.arm(timer, kStart + 100 * kMs);
  wheel.arm(timer, kStart + 1000 * kMs);  // later
  wheel.expire(kStart + 500 * kMs);
  EXPECT_EQ(fired, 0);
  wheel.arm(timer, kStart + 600 * kMs);  // earlier
  wheel.expire(kStart + 610 * kMs);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, LetsCallbacksTouchAnyTimer) {
  TimerWheel wheel(kStart);
  int fired = 0;
  LambdaTimer victim([&] { fired += 100; });
  auto doomed = std::make_unique<LambdaTimer>([&] { fired += 1000; });
  int repeats = 0;
  LambdaTimer repeating([&] {
    ++repeats;
    wheel.arm(repeating, 0);  // long past: fires in the next call, not for ever in this one
  });
  // Armed last, fires first within its tick.
  LambdaTimer killer([&] {
    ++fired;
    TimerWheel::cancel(victim);
    doomed.reset();
  });
  const int64_t deadline = kStart + 20 * kMs;
  wheel.arm(victim, deadline);
  wheel.arm(*doomed, deadline);
  wheel.arm(repeating, deadline);
  wheel.arm(killer, deadline);
  wheel.expire(kStart + 1000 * kMs);
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(repeats, 1);
  wheel.expire(kStart + 1010 * kMs);
  EXPECT_EQ(repeats, 2);
}

TEST(TimerWheelTest, MayBeDestroyedBeforeItsTimers) {
  LambdaTimer timer([] {});
  LambdaTimer other([] {});
  {
    TimerWheel wheel(kStart);
    wheel.arm(timer, kStart + 10 * kMs);
    wheel.arm(other, kStart + 10 * kMs);
  }
  EXPECT_FALSE(timer.armed());
  EXPECT_FALSE(other.armed());
}

TEST(TimerWheelTest, SleepsUntilTheNextDeadline) {
  TimerWheel wheel(kStart);
  LambdaTimer timer([] {});
  wheel.arm(timer, kStart + 60'000 * kMs);
  // It may wake up in between to place the timer more finely, but never late and not often.
  int wake_ups = 0;
  for (int64_t now = kStart; timer.armed(); ++wake_ups) {
    const int64_t next = wheel.next_deadline_ns();
    ASSERT_GT(next, now);
    ASSERT_LE(next, kStart + 60'000 * kMs + kTick);
    now = next;
    wheel.expire(now);
  }
  EXPECT_LE(wake_ups, 6);
}

TEST(TimerWheelTest, AgreesWithASortedModel) {
  constexpr int kTimers = 200;
  TimerWheel wheel(kStart);
  std::mt19937_64 random(11);
  std::vector<std::unique_ptr<LambdaTimer>> timers;
  std::map<int, int64_t> model;  // armed timers and their deadlines
  int64_t now = kStart;
  int fired = 0;
  for (int i = 0; i < kTimers; ++i)
    timers.push_back(std::make_unique<LambdaTimer>([&, i] {
      ++fired;
      ASSERT_TRUE(model.count(i)) << "fired without being armed";
      EXPECT_GE(now, model[i]);
      model.erase(i);
    }));
  for (int step = 0; step < 50'000; ++step) {
    const int which = static_cast<int>(random() % kTimers);
    // Delays of all magnitudes, up to about an hour.
    const auto delay = static_cast<int64_t>(random() % (uint64_t{1} << (random() % 42)));
    switch (random() % 4) {
      case 0:
        TimerWheel::cancel(*timers[which]);
        model.erase(which);
        break;
      case 1:
        now += delay / 64;
        wheel.expire(now);
        for (const auto& [timer, deadline] : model)
          ASSERT_GT(deadline, now - kTick) << "timer " << timer << " is late";
        break;
      default:
        wheel.arm(*timers[which], now + delay);
        model[which] = now + delay;
    }
    ASSERT_EQ(timers[which]->armed(), model.count(which) == 1);
  }
  EXPECT_GT(fired, 1000);
}

}  // namespace
}  // namespace weir::reactor
