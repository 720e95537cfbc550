// The store as its users see it: append, read back, restart. Real files, real LMDB.
#include "storage/store.h"

#include <gtest/gtest.h>

#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  void open() { store_ = open_store(options_, metrics_); }
  void reopen() {
    store_->stop();
    store_.reset();
    open();
  }

  TestDirectory directory_;
  MetricRegistry metrics_;
  StoreOptions options_ = small_options(directory_.path());
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, AnEmptyStoreOpensAndIsAtItsEnd) {
  open();
  EXPECT_EQ(store_->admission(), Refusal::kNone);
  EXPECT_EQ(store_->committed_end(0), 1u);
  const ReadBack all = read_all(*store_, 0);
  EXPECT_TRUE(all.raws.empty());
  EXPECT_TRUE(all.total.at_end);
  store_->stop();
}

TEST_F(StoreTest, WhatWasCommittedIsReadBackInOrderWithItsBytes) {
  open();
  {
    TestClient client(*store_);
    const auto& sent = client.send({{"a", "shop", "{\"n\":1}"}, {"b", "shop", "{\"n\":2}"}});
    EXPECT_EQ(sent.request.outcome, AppendOutcome::kCommitted);
    EXPECT_EQ(sent.entries[0].number, 1u);
    EXPECT_EQ(sent.entries[1].number, 2u);
    EXPECT_EQ(sent.entries[1].outcome, EntryOutcome::kStored);
    const ReadBack all = read_all(*store_, 0);
    ASSERT_EQ(all.raws.size(), 2u);
    EXPECT_EQ(all.raws.at(1), "{\"n\":1}");
    EXPECT_EQ(all.raws.at(2), "{\"n\":2}");
    store_->stop();
  }
}

TEST_F(StoreTest, ARepeatedKeyIsStoredOnceAndAnsweredWithItsOriginalAlsoAfterARestart) {
  open();
  {
    TestClient client(*store_);
    EXPECT_EQ(client.put("k1").outcome, EntryOutcome::kStored);
    const AppendEntry again = client.put("k1");
    EXPECT_EQ(again.outcome, EntryOutcome::kDuplicate);
    EXPECT_EQ(again.number, 1u);
    const auto& same_group = client.send({{"k2"}, {"k2"}, {"k1"}});
    EXPECT_EQ(same_group.entries[0].outcome, EntryOutcome::kStored);
    EXPECT_EQ(same_group.entries[1].outcome, EntryOutcome::kDuplicate);
    EXPECT_EQ(same_group.entries[1].number, same_group.entries[0].number);
    EXPECT_EQ(same_group.entries[2].outcome, EntryOutcome::kDuplicate);
    store_->stop();
  }
  store_.reset();
  open();
  {
    TestClient client(*store_);
    const AppendEntry again = client.put("k1");
    EXPECT_EQ(again.outcome, EntryOutcome::kDuplicate);
    EXPECT_EQ(again.number, 1u);
    EXPECT_EQ(client.put("k3").number, 3u);
    EXPECT_EQ(read_all(*store_, 0).raws.size(), 3u);
    store_->stop();
  }
}

TEST_F(StoreTest, SegmentsAreSealedWhenFullAndReadAcross) {
  open();
  const std::string raw(2000, 'x');
  uint64_t sent = 0;
  {
    TestClient client(*store_);
    for (int round = 0; round < 40; ++round) {
      std::vector<TestEvent> events;
      for (int i = 0; i < 50; ++i) events.push_back({std::to_string(sent++), "shop", raw});
      client.send(events);
    }
    EXPECT_GT(store_->shard_status(0).segments, 3u);
    EXPECT_EQ(read_all(*store_, 0).raws.size(), sent);
    store_->stop();
  }
  store_.reset();
  open();
  EXPECT_EQ(read_all(*store_, 0).raws.size(), sent);
  EXPECT_EQ(store_->totals().accepted, sent);
  EXPECT_EQ(store_->totals().tenants.at("shop").accepted, sent);
  const auto found = store_->find("shop", "1234");
  ASSERT_TRUE(found.has_value());
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->number, 1235u);
  EXPECT_FALSE(store_->find("shop", "nobody")->has_value());
  store_->stop();
}

TEST_F(StoreTest, ARestartKnowsTheKeysOfAllSegmentsOrTheNewestUpToTheCap) {
  const auto key = [](int i) { return "key-" + std::to_string(i); };
  constexpr int kEvents = 3'000;
  open();
  {
    TestClient client(*store_);
    for (int i = 0; i < kEvents; i += 100) {
      std::vector<TestEvent> events;
      for (int j = i; j < i + 100; ++j)
        events.push_back({key(j), "shop", "{\"p\":\"" + std::string(1'000, 'x') + "\"}"});
      client.send(events);
    }
  }
  reopen();
  EXPECT_GE(directory_.names(".fp").size(), 3u);
  {
    TestClient client(*store_);
    for (int i = 0; i < kEvents; i += 7)
      ASSERT_EQ(client.put(key(i)).outcome, EntryOutcome::kDuplicate) << i;
  }
  options_.dedupe_max_entries = 1'500;
  reopen();
  TestClient client(*store_);
  for (int i = kEvents - 1'000; i < kEvents; ++i)
    ASSERT_EQ(client.put(key(i)).outcome, EntryOutcome::kDuplicate) << i;
  EXPECT_EQ(client.put(key(0)).outcome, EntryOutcome::kStored);
  EXPECT_EQ(client.put(key(kEvents - 300)).outcome, EntryOutcome::kDuplicate) << "still known";
  store_->stop();
}

TEST_F(StoreTest, ACleanStopSealsEverythingSoThatTheNextStartWalksNothing) {
  open();
  {
    TestClient client(*store_);
    client.put("a");
    store_->stop();
  }
  store_.reset();
  EXPECT_EQ(directory_.names(".fp").size(), 1u);
  EXPECT_TRUE(directory_.names("1.weir-lock").empty());
}

TEST_F(StoreTest, TellsWhereAnEventLiesAndWhenItWasCommitted) {
  open();
  const int64_t before = Clock::system().wall_ms();
  {
    TestClient client(*store_);
    client.put("k1");
    client.put("k2");
    const auto place = store_->place({0, 2});
    ASSERT_TRUE(place) << place.error().message;
    EXPECT_EQ(place->first, 1u);
    EXPECT_FALSE(place->sealed);
    EXPECT_GE(place->committed_ms, before);
    EXPECT_LE(place->committed_ms, Clock::system().wall_ms());
    EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/" + place->file)) << place->file;
    EXPECT_EQ(store_->place({0, 3}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store_->place({9, 1}).error().code, ErrorCode::kNotFound);
    store_->stop();
  }
  store_.reset();
  open();
  const auto sealed = store_->place({0, 1});
  ASSERT_TRUE(sealed) << sealed.error().message;
  EXPECT_TRUE(sealed->sealed);
  EXPECT_EQ(sealed->last, 2u);
  store_->stop();
}

TEST_F(StoreTest, DrainingRefusesUntilItIsResumed) {
  open();
  store_->set_draining(true);
  EXPECT_EQ(store_->admission(), Refusal::kDraining);
  EXPECT_NE(store_->admission_detail(), "");
  store_->set_draining(false);
  EXPECT_EQ(store_->admission(), Refusal::kNone);
  store_->stop();
}

TEST_F(StoreTest, ASecondProcessIsRefusedWithThePidOfTheFirst) {
  open();
  MetricRegistry metrics;
  const auto second = Store::open(options_, Clock::system(), metrics);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_NE(second.error().message.find(std::to_string(getpid())), std::string::npos);
  store_->stop();
}

TEST_F(StoreTest, WithSeveralShardsAKeyMeetsItsOriginalAndARequestComesBackOnce) {
  options_.shards = 3;
  open();
  {
    TestClient client(*store_);
    std::vector<TestEvent> events;
    for (int i = 0; i < 300; ++i) events.push_back({std::to_string(i)});
    for (int i = 0; i < 30; ++i) events.push_back({""});
    client.send(events);
    size_t stored = 0;
    for (unsigned shard = 0; shard < 3; ++shard) stored += read_all(*store_, shard).raws.size();
    EXPECT_EQ(stored, 330u);
    const auto& again = client.send(events);
    EXPECT_EQ(again.request.outcome, AppendOutcome::kCommitted);
    for (int i = 0; i < 300; ++i) EXPECT_EQ(again.entries[i].outcome, EntryOutcome::kDuplicate);
    store_->stop();
  }
}

TEST_F(StoreTest, WhatComesAfterStopIsRefused) {
  open();
  TestClient client(*store_);
  store_->stop();
  EXPECT_EQ(client.send({{"late"}}).request.refusal, Refusal::kStopping);
}

}  // namespace
}  // namespace weir::storage
