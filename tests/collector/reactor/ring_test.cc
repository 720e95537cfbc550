// The ring itself: more operations than the queues hold, and completions nobody waits for any more.
#include "collector/reactor/ring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>

#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

struct Operation {
  Operation() { completion.bind<&Operation::on_event>(this); }
  void on_event(const CompletionEvent& event) {
    ++events;
    result = event.result;
  }
  Completion completion;
  int events = 0;
  int result = 1;
};

class RingTest : public testing::Test {
 protected:
  // Everything on one thread of its own, whose end takes the ring's interruptions with it.
  void with_ring(unsigned entries, const std::function<void(Ring&)>& use) {
    if (const IoUringReport report = probe_io_uring(); !report.usable)
      GTEST_SKIP() << report.detail;
    std::thread([&] {
      auto ring = Ring::create(entries, 2 * entries, {overflows_, stale_, retries_});
      ASSERT_TRUE(ring.has_value()) << ring.error().message;
      (*ring)->enable();
      use(**ring);
    }).join();
  }
  static void turn(Ring& ring, int64_t timeout_ns = 0) {
    ring.submit_and_wait(timeout_ns);
    ring.reap();
    ring.deliver_reaped();
  }

  Counter overflows_;
  Counter stale_;
  Counter retries_;
};

TEST_F(RingTest, TakesMoreOperationsThanBothQueuesHold) {
  with_ring(4, [&](Ring& ring) {
    std::deque<Operation> operations(1000);
    for (auto& operation : operations) ring.nop(operation.completion);
    turn(ring);
    for (auto& operation : operations) {
      EXPECT_EQ(operation.events, 1);
      EXPECT_EQ(operation.result, 0);
      EXPECT_FALSE(operation.completion.in_flight());
    }
  });
  EXPECT_GT(overflows_.value(), 0u);
  EXPECT_EQ(stale_.value(), 0u);
}

TEST_F(RingTest, DropsTheCompletionOfAnEarlierUseOfTheSlot) {
  with_ring(8, [&](Ring& ring) {
    Operation operation;
    ring.nop(operation.completion);
    operation.completion.abandon();  // as if its owner had gone and the slot were used again
    ring.nop(operation.completion);
    turn(ring);
    EXPECT_EQ(operation.events, 1);
    EXPECT_FALSE(operation.completion.in_flight());
  });
  EXPECT_EQ(stale_.value(), 1u);
}

// A loop that fills its submission queue in each turn once never saw a receive end.
TEST_F(RingTest, RunsTaskWorkAlthoughCompletionsAreThereAlready) {
  with_ring(4, [&](Ring& ring) {
    const int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t count = 0;
    Operation read;
    ring.read(read.completion, fd, &count, sizeof count);
    turn(ring);
    const uint64_t one = 1;
    ASSERT_EQ(write(fd, &one, sizeof one), ssize_t{sizeof one});
    std::deque<Operation> operations(6);  // the first four complete when the fifth finds no room
    for (auto& operation : operations) ring.nop(operation.completion);
    turn(ring, 1'000'000'000);
    EXPECT_EQ(read.events, 1);
    close(fd);
  });
}

TEST_F(RingTest, WaitsAtMostAsLongAsAsked) {
  with_ring(8, [&](Ring& ring) {
    const auto begin = std::chrono::steady_clock::now();
    ring.submit_and_wait(20'000'000);
    const auto waited = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(waited, std::chrono::milliseconds(20));
    EXPECT_LT(waited, std::chrono::seconds(5));
  });
}

TEST_F(RingTest, EndsBothTheCancelledAndTheCancellingOperation) {
  with_ring(8, [&](Ring& ring) {
    const int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t count = 0;
    Operation read;
    Operation cancel;
    ring.read(read.completion, fd, &count, sizeof count);
    turn(ring);
    EXPECT_TRUE(read.completion.in_flight());
    ring.cancel(cancel.completion, read.completion);
    while (read.completion.in_flight() || cancel.completion.in_flight()) turn(ring, 1'000'000);
    EXPECT_EQ(read.result, -ECANCELED);
    EXPECT_EQ(cancel.result, 0);
    ring.cancel_descriptor(cancel.completion, fd);
    while (cancel.completion.in_flight()) turn(ring, 1'000'000);
    EXPECT_TRUE(cancel.result == 0 || cancel.result == -ENOENT) << cancel.result;
    close(fd);
  });
}

}  // namespace
}  // namespace weir::reactor
