#include "forwarder/destinations/threaded.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>

#include "forwarder/record_body.h"

namespace weir::forwarder {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// Takes what is said to it: "stall" waits for the end, everything else is delivered.
class ScriptedSink : public BlockingSink {
 public:
  explicit ScriptedSink(std::atomic<int>& cancelled) : cancelled_(cancelled) {}
  Outcome deliver(std::string_view batch_id, std::string_view body, uint64_t,
                  const Cancel& cancel) override {
    Outcome outcome;
    outcome.kind = OutcomeKind::kDelivered;
    outcome.detail = std::string(batch_id) + " " + std::string(body);
    if (body != "stall") return outcome;
    const int64_t never = Clock::system().monotonic_ns() + 60 * kSecondNs;
    if (wait_for(cancel.fd(), 0, never, cancel, Clock::system()) == Waited::kCancelled)
      ++cancelled_;
    return outcome;
  }

 private:
  std::atomic<int>& cancelled_;
};

class ThreadedTest : public ::testing::Test {
 protected:
  void open(size_t workers) {
    std::vector<std::unique_ptr<BlockingSink>> sinks;
    for (size_t i = 0; i < workers; ++i) sinks.push_back(std::make_unique<ScriptedSink>(cancelled));
    destination = std::make_unique<ThreadedDestination>(
        "weir-test", std::move(sinks),
        [] { return std::make_unique<RecordEncoder>(PartitionKey::kNone, "store"); },
        Clock::system());
  }
  // The next sends that finish, waited for as the forwarder does.
  std::vector<Send*> wait_finished(int timeout_ms = 10'000) {
    std::vector<Send*> all;
    pollfd one{destination->poll_fd(), POLLIN, 0};
    if (poll(&one, 1, timeout_ms) != 1) return all;
    for (Send* send = destination->take_finished(); send != nullptr; send = send->next)
      all.push_back(send);
    return all;
  }
  std::atomic<int> cancelled{0};
  std::unique_ptr<ThreadedDestination> destination;
};

Send make_send(std::string_view batch_id, std::string_view body) {
  Send send;
  send.batch_id = batch_id;
  send.body = body;
  send.events = 1;
  return send;
}

TEST_F(ThreadedTest, EachSendComesBackOnceWithItsOutcome) {
  open(3);
  std::vector<Send> sends;
  for (int i = 0; i < 100; ++i) sends.push_back(make_send("b", "body"));
  for (Send& send : sends) destination->send(send);
  size_t finished = 0;
  while (finished < sends.size()) {
    const auto some = wait_finished();
    ASSERT_FALSE(some.empty());
    finished += some.size();
    for (const Send* send : some) EXPECT_EQ(send->outcome.detail, "b body");
  }
  EXPECT_TRUE(wait_finished(20).empty());
}

TEST_F(ThreadedTest, AStalledSendHoldsBackOnlyItsWorker) {
  open(2);
  Send stalled = make_send("a", "stall");
  Send other = make_send("b", "x");
  destination->send(stalled);
  destination->send(other);
  const auto finished = wait_finished();
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0], &other);
  destination->abandon();
}

TEST_F(ThreadedTest, WhatWasAbandonedNeverComesBackAndMayBeFreedAtOnce) {
  open(1);
  {
    const auto body = std::make_unique<std::string>("stall");
    Send stalled = make_send("a", *body);
    Send queued = make_send("b", "x");
    destination->send(stalled);
    destination->send(queued);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the worker has it, mostly
    destination->abandon();
  }
  Send next = make_send("c", "y");
  destination->send(next);
  const auto finished = wait_finished();
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0], &next);
  EXPECT_EQ(next.outcome.detail, "c y");
}

TEST_F(ThreadedTest, TheEndCancelsWhatIsInFlight) {
  open(2);
  Send stalled = make_send("a", "stall");
  destination->send(stalled);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const int64_t began = Clock::system().monotonic_ns();
  destination.reset();
  EXPECT_LT(Clock::system().monotonic_ns() - began, 5 * kSecondNs);
}

}  // namespace
}  // namespace weir::forwarder
