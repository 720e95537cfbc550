// The store on a failing disk: what is refused, for how long, and that nothing is acknowledged
// that is not durable. The faults are real return values of the system calls (faults.h).
#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#include "storage/state.h"
#include "tests/storage/faults.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

using faults::plan;

class StoreFaultTest : public ::testing::Test {
 protected:
  StoreFaultTest() { plan().reset(); }
  ~StoreFaultTest() override {
    plan().reset();
    close();
  }
  // The order of store.h: stop, then the appenders, then the store.
  void close() {
    if (store_ != nullptr) store_->stop();
    client_.reset();
    store_.reset();
  }
  void open() {
    close();
    store_ = open_store(options_, metrics_);
    client_ = std::make_unique<TestClient>(*store_);
  }
  bool becomes(Refusal refusal, int64_t timeout_ms = 10'000) {
    for (int64_t waited = 0; waited < timeout_ms; waited += 5) {
      if (store_->admission() == refusal) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  std::vector<TestEvent> batch(int size, const std::string& prefix) {
    std::vector<TestEvent> events;
    for (int i = 0; i < size; ++i) events.push_back({prefix + std::to_string(i)});
    return events;
  }

  TestDirectory directory_;
  MetricRegistry metrics_;
  StoreOptions options_ = small_options(directory_.path());
  std::unique_ptr<Store> store_;
  std::unique_ptr<TestClient> client_;
};

TEST_F(StoreFaultTest, AFailedSyncIsFinalEvenIfTheNextOneWouldSucceed) {
  open();
  client_->put("before");
  plan().sync_error = EIO;
  const auto& failed = client_->send({{"lost"}});
  EXPECT_EQ(failed.request.outcome, AppendOutcome::kRefused);
  EXPECT_EQ(failed.request.refusal, Refusal::kSyncFailed);
  plan().reset();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(client_->send({{"later"}}).request.refusal, Refusal::kSyncFailed);
  EXPECT_EQ(store_->admission(), Refusal::kSyncFailed);
  EXPECT_NE(store_->admission_detail().find("Input/output error"), std::string::npos)
      << store_->admission_detail();
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 1u) << "reading goes on";
  open();
  EXPECT_EQ(store_->admission(), Refusal::kNone);
  EXPECT_EQ(client_->put("before").outcome, EntryOutcome::kDuplicate);
  client_->put("lost");
  EXPECT_LE(read_all(*store_, 0).raws.size(), 3u);
  EXPECT_EQ(client_->put("lost").outcome, EntryOutcome::kDuplicate);
}

// Otherwise the next start would believe events that only the page cache has.
TEST_F(StoreFaultTest, AStopAfterAFailedSyncIsNotACleanOne) {
  for (const bool sync_fails : {false, true}) {
    open();
    client_->put(sync_fails ? "before" : "first");
    if (sync_fails) {
      plan().sync_error = EIO;
      EXPECT_EQ(client_->send({{"lost"}}).request.refusal, Refusal::kSyncFailed);
      plan().reset();
    }
    close();
    const auto state = State::open(options_, Clock::system(), metrics_,
                                   [] { return Result<std::optional<StoreIdentity>>(); });
    ASSERT_TRUE(state.has_value()) << state.error().message;
    EXPECT_EQ((*state)->was_clean_stop(), !sync_fails);
    (*state)->stop();
  }
}

TEST_F(StoreFaultTest, AFailedWriteOfTheMetaPageIsFinalAndReadingGoesOn) {
  open();
  client_->put("before");
  plan().meta_error = EIO;
  EXPECT_EQ(client_->send({{"lost"}}).request.refusal, Refusal::kSyncFailed);
  plan().reset();
  EXPECT_EQ(client_->send({{"later"}}).request.refusal, Refusal::kSyncFailed);
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 1u);
  open();
  EXPECT_EQ(client_->put("before").outcome, EntryOutcome::kDuplicate);
  EXPECT_EQ(client_->put("later").outcome, EntryOutcome::kStored);
}

TEST_F(StoreFaultTest, AFullDiskRefusesKeepsReadingAndEndsByItself) {
  for (const int error : {ENOSPC, EIO}) {  // EIO: how a short write shows
    open();
    const uint64_t before = read_all(*store_, 0).raws.size();
    client_->put("before" + std::to_string(error));
    plan().disk_free = 0;
    plan().write_error = error;
    const auto& refused = client_->send({{"full" + std::to_string(error)}});
    EXPECT_EQ(refused.request.refusal, Refusal::kDiskFull);
    EXPECT_EQ(store_->admission(), Refusal::kDiskFull);
    EXPECT_EQ(read_all(*store_, 0).raws.size(), before + 1);
    plan().reset();
    EXPECT_TRUE(becomes(Refusal::kNone));
    EXPECT_EQ(client_->put("full" + std::to_string(error)).outcome, EntryOutcome::kStored)
        << "a refused key is not remembered";
    EXPECT_EQ(read_all(*store_, 0).raws.size(), before + 2);
  }
}

TEST_F(StoreFaultTest, StartsOnAFullDiskServesWhatIsThereAndAcceptsWhenThereIsRoom) {
  open();
  client_->put("before");
  close();
  plan().disk_free = 0;
  plan().write_error = ENOSPC;
  open();
  EXPECT_EQ(store_->admission(), Refusal::kDiskFull);
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 1u);
  EXPECT_EQ(client_->send({{"full"}}).request.refusal, Refusal::kDiskFull);
  plan().reset();
  EXPECT_TRUE(becomes(Refusal::kNone));
  EXPECT_EQ(client_->put("full").number, 2u);
}

TEST_F(StoreFaultTest, NoSpaceFromASyncOnADiskThatIsNotFullIsAFailedSync) {
  open();
  plan().sync_error = ENOSPC;  // a thin device
  EXPECT_EQ(client_->send({{"lost"}}).request.refusal, Refusal::kSyncFailed);
}

TEST_F(StoreFaultTest, TheReserveIsKeptFree) {
  options_.reserve_bytes = uint64_t{64} << 20;
  open();
  plan().disk_free = int64_t{32} << 20;
  EXPECT_TRUE(becomes(Refusal::kDiskFull));
  EXPECT_EQ(client_->send({{"x"}}).request.refusal, Refusal::kDiskFull);
  plan().disk_free = int64_t{512} << 20;
  EXPECT_TRUE(becomes(Refusal::kNone));
  client_->put("x");
}

TEST_F(StoreFaultTest, ASyncBeyondItsDeadlineRefusesUntilItReturns) {
  options_.commit_deadline_ms = 100;
  open();
  plan().sync_delay_ms = 1'000;
  auto& slow = client_->lend({{"slow"}});
  EXPECT_TRUE(becomes(Refusal::kSyncStalled));
  EXPECT_EQ(client_->in_flight(), 1u) << "still lent";
  auto& meanwhile = client_->lend({{"meanwhile"}});
  EXPECT_TRUE(client_->wait_all());
  EXPECT_EQ(meanwhile.request.refusal, Refusal::kSyncStalled);
  EXPECT_EQ(slow.request.outcome, AppendOutcome::kCommitted);
  EXPECT_TRUE(becomes(Refusal::kNone));
  plan().reset();
  client_->put("after");
}

TEST_F(StoreFaultTest, TheQueueIsBoundedInBytes) {
  options_.append_queue_bytes = 100'000;
  open();
  plan().sync_delay_ms = 300;
  client_->lend({{"first"}});
  const std::string raw(10'000, 'x');
  std::vector<TestClient::Sent*> sent;
  for (int i = 0; i < 30; ++i) sent.push_back(&client_->lend({{std::to_string(i), "shop", raw}}));
  EXPECT_EQ(store_->admission(), Refusal::kQueueFull);
  EXPECT_TRUE(client_->wait_all());
  size_t refused = 0;
  for (const auto* one : sent) refused += one->request.refusal == Refusal::kQueueFull ? 1 : 0;
  EXPECT_GE(refused, 20u);
  EXPECT_LT(refused, 30u);
  plan().reset();
  EXPECT_TRUE(becomes(Refusal::kNone));
  client_->put("after");
}

TEST_F(StoreFaultTest, AFullMapAtTheCommitIsReplayedIntoTheSuccessor) {
  open();
  client_->send(batch(10, "a"));
  plan().commits_map_full = 1;
  const auto& replayed = client_->send(batch(100, "b"));
  EXPECT_EQ(replayed.request.outcome, AppendOutcome::kCommitted);
  EXPECT_EQ(store_->shard_status(0).segments, 2u);
  EXPECT_EQ(replayed.entries[0].number, 11u);
  client_->send(batch(100, "b"));
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 110u);
  EXPECT_EQ(read_all(*store_, 0).total.missing, 0u);
}

TEST_F(StoreFaultTest, AFullMapAtAnyAppendIsReplayedIntoTheSuccessor) {
  open();
  client_->send(batch(10, "first"));
  const std::string raw(10'000, 'x');  // several chunks, then the commit block
  for (int at : {1, 2, 3, 4, 5}) {
    plan().puts_map_full_at = at;
    std::vector<TestEvent> events;
    for (int i = 0; i < 20; ++i)
      events.push_back({"n" + std::to_string(at) + "-" + std::to_string(i), "shop", raw});
    EXPECT_EQ(client_->send(events).request.outcome, AppendOutcome::kCommitted) << at;
    EXPECT_EQ(plan().puts_map_full_at, 0) << "the map was never full";
    EXPECT_EQ(client_->send(events).entries[0].outcome, EntryOutcome::kDuplicate);
  }
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 110u);
  EXPECT_EQ(read_all(*store_, 0).total.missing, 0u);
  open();
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 110u);
}

TEST_F(StoreFaultTest, AGroupThatFitsIntoNoSegmentIsRefusedAndNothingHangs) {
  open();
  client_->put("before");
  plan().commits_map_full = 2;
  EXPECT_EQ(client_->send({{"x"}}).request.outcome, AppendOutcome::kRefused);
  EXPECT_EQ(client_->put("x").outcome, EntryOutcome::kStored);
  const auto& large = client_->send({{"huge", "shop", std::string(options_.segment_bytes, 'x')}});
  EXPECT_EQ(large.request.outcome, AppendOutcome::kRefused);
  client_->put("after");
}

TEST_F(StoreFaultTest, OfALargeBatchThatFailsHalfWayTheRestIsStoredWhenItIsSentAgain) {
  options_.commit_max_events = 400;
  open();
  plan().syncs_until_error = 2;
  plan().sync_error = EIO;
  const auto events = batch(1'000, "e");
  EXPECT_EQ(client_->send(events).request.refusal, Refusal::kSyncFailed);
  plan().reset();
  open();
  const uint64_t kept = read_all(*store_, 0).raws.size();
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 1'000u);
  EXPECT_EQ(client_->send(events).request.outcome, AppendOutcome::kCommitted);
  EXPECT_EQ(read_all(*store_, 0).raws.size(), 1'000u) << "each once";
}

TEST_F(StoreFaultTest, SmallRequestsOvertakeALargeBatch) {
  options_.commit_max_events = 80;
  open();
  plan().sync_delay_ms = 20;
  auto& large = client_->lend(batch(400, "large"));
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  auto& small = client_->lend({{"small"}});
  EXPECT_TRUE(client_->wait_all());
  EXPECT_EQ(large.request.outcome, AppendOutcome::kCommitted);
  EXPECT_LT(small.entries[0].number, large.entries.back().number);
}

}  // namespace
}  // namespace weir::storage
