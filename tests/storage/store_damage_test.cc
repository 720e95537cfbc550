// Flipped bits, truncation and missing files, one kind of file after the other, with the store
// stopped and with it running: a start never crashes and never fails, what is in other files stays,
// what was damaged is set aside and its numbers are not used again.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "tests/storage/segment_fixture.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

namespace fs = std::filesystem;

class StoreDamageTest : public ::testing::Test {
 protected:
  // Three batches in three processes' time: each its own segment.
  void make(bool stop_cleanly = true) {
    for (int part = 0; part < 3; ++part) {
      auto store = open_store(options_, metrics_);
      TestClient client(*store);
      std::vector<TestEvent> events;
      for (int i = 0; i < 100; ++i)
        events.push_back({key(part, i), "shop", key(part, i) + std::string(700, 'x')});
      client.send(events);
      if (part == 2 && !stop_cleanly) fs::copy(directory_.path(), crashed_.path(), kCopy);
      store->stop();
    }
    if (!stop_cleanly) {
      fs::remove_all(directory_.path());
      fs::copy(crashed_.path(), directory_.path(), kCopy);
    }
    fs::copy(directory_.path(), sound_.path(), kCopy);
  }
  void restore() {
    fs::remove_all(directory_.path());
    fs::copy(sound_.path(), directory_.path(), kCopy);
  }
  static std::string key(int part, int i) {
    return "part" + std::to_string(part) + "-" + std::to_string(i);
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

  void flip(const std::string& name, size_t at, unsigned bit) { flip_bit(path(name), at, bit); }
  // Opens the damaged directory; what is read is what was written, and new numbers are new.
  size_t open_and_read() {
    auto store = open_store(options_, metrics_);
    if (store == nullptr) return 0;
    const ReadBack all = read_all(*store, 0);
    for (const auto& [number, raw] : all.raws) {
      const auto part = static_cast<int>((number - 1) / 100);
      const auto i = static_cast<int>((number - 1) % 100);
      EXPECT_EQ(raw.substr(0, raw.find('x')), key(part, i)) << number;
    }
    TestClient client(*store);
    const AppendEntry entry = client.put("new");
    EXPECT_EQ(entry.outcome, EntryOutcome::kStored);
    EXPECT_GT(entry.number, 300u) << "a number was used twice";
    store->stop();
    return all.raws.size();
  }

  static constexpr auto kCopy = fs::copy_options::recursive | fs::copy_options::overwrite_existing;
  TestDirectory directory_;
  TestDirectory sound_;
  TestDirectory crashed_;
  MetricRegistry metrics_;
  StoreOptions options_ = small_options(directory_.path());
};

TEST_F(StoreDamageTest, FlippedBitsInAnyFileNeverStopAStart) {
  make();
  std::mt19937_64 random(5);
  int noticed = 0;
  for (const auto& entry : fs::directory_iterator(sound_.path())) {
    if (!entry.is_regular_file() || entry.file_size() == 0) continue;
    const std::string name = entry.path().filename();
    if (name == "lock") continue;
    for (int trial = 0; trial < 4; ++trial) {
      restore();
      const size_t pages = std::max<size_t>(entry.file_size() / 4096, 1);
      const size_t at = std::min<size_t>(
          random() % std::min<size_t>(pages, 20) * 4096 + random() % (trial % 2 == 0 ? 32 : 4096),
          entry.file_size() - 1);
      flip(name, at, static_cast<unsigned>(random() % 8));
      const size_t read = open_and_read();
      const bool segment = name.ends_with(".weir") && name.starts_with("seg-");
      EXPECT_GE(read, segment ? 200u : 300u) << name << " at " << at;
      noticed += fs::exists(path("damaged")) ? 1 : 0;
    }
  }
  EXPECT_GT(noticed, 5) << "the flips hit nothing";
}

TEST_F(StoreDamageTest, ADamagedSealedSegmentIsSetAsideWhenItIsReadAndItsKeysAreNewAgain) {
  make();
  const std::string name = directory_.names(".weir")[1];
  for (size_t page = 2; page < 8; ++page) flip(name, page * 4096 + 12, 3);
  auto store = open_store(options_, metrics_);
  const ReadBack all = read_all(*store, 0);
  EXPECT_EQ(all.raws.size(), 200u);
  EXPECT_EQ(all.total.missing, 100u);
  EXPECT_EQ(store->shard_status(0).damaged_segments, 1u);
  EXPECT_TRUE(fs::exists(path("damaged")));
  EXPECT_FALSE(fs::exists(path(name)));
  auto client = std::make_unique<TestClient>(*store);
  EXPECT_EQ(client->put(key(1, 5)).outcome, EntryOutcome::kStored) << "its original is gone";
  EXPECT_EQ(client->put(key(0, 5)).outcome, EntryOutcome::kDuplicate);
  EXPECT_EQ(store->totals().accepted, 301u);
  store->stop();
  client.reset();
  store.reset();
  store = open_store(options_, metrics_);
  EXPECT_EQ(store->totals().accepted, 301u) << "what was accepted stays counted";
  EXPECT_EQ(read_all(*store, 0).raws.size(), 201u);
  store->stop();
}

TEST_F(StoreDamageTest, AnUnsealedSegmentThatIsDamagedIsSetAsideAndItsNumbersAreNotUsedAgain) {
  make(false);
  std::string unsealed;
  for (const std::string& name : directory_.names(".weir")) {
    std::string sidecar = name.substr(0, 22) + ".fp";
    if (name.starts_with("seg-") && !fs::exists(path(sidecar)) &&
        fs::file_size(path(name)) > 60'000)
      unsealed = name;
  }
  ASSERT_FALSE(unsealed.empty());
  for (size_t page = 2; page < 8; ++page) flip(unsealed, page * 4096 + 12, 3);
  auto store = open_store(options_, metrics_);
  EXPECT_EQ(store->shard_status(0).damaged_segments, 1u);
  store->stop();
  store.reset();
  // Also the start after the next knows which numbers were used.
  EXPECT_EQ(open_and_read(), 200u);
}

// In a file that is being served, which was sound when it was opened.
class DamageWhileServingTest : public StoreDamageTest {
 protected:
  DamageWhileServingTest() {
    store_ = open_store(options_, metrics_);
    client_ = std::make_unique<TestClient>(*store_);
    std::vector<TestEvent> events;
    for (int i = 0; i < 50; ++i)
      events.push_back({key(0, i), "shop", key(0, i) + std::string(700, 'x')});
    client_->send(events);
    for (TestEvent& event : events) event.key += "again";
    client_->send(events);
    const auto chunks = chunks_in(segment_);
    chunk_ = *std::max_element(chunks.begin(), chunks.end(),
                               [](const auto& a, const auto& b) { return a.count < b.count; });
    EXPECT_GT(chunk_.count, 1u);
  }
  ~DamageWhileServingTest() override {
    store_->stop();
    client_.reset();
  }
  // Everything but events first .. end - 1 is read, and they are counted one by one.
  void expect_lost(uint64_t first, uint64_t end) {
    const double damaged = damaged_records();
    const ReadBack all = read_all(*store_, 0);
    EXPECT_EQ(all.raws.size(), 100 - (end - first));
    for (uint64_t number = 1; number <= 100; ++number)
      EXPECT_EQ(all.raws.contains(number), number < first || number >= end) << number;
    EXPECT_EQ(all.total.missing, end - first);
    EXPECT_EQ(damaged_records() - damaged, static_cast<double>(end - first));
  }
  double damaged_records() const {
    for (const MetricRegistry::Series& series : metrics_.collect())
      if (series.metric == Metric::kDamagedRecords) return series.value;
    return 0;
  }

  const std::string segment_ = path("seg-0-0000000000000001.weir");
  std::unique_ptr<Store> store_;
  std::unique_ptr<TestClient> client_;
  ChunkInFile chunk_;  // the one with the most events
};

TEST_F(DamageWhileServingTest, AFlippedBitInAnEventCostsThatEvent) {
  chunk_.flip(segment_, chunk_.events_at() + kEventHeaderSize + 100, 4);
  expect_lost(chunk_.first, chunk_.first + 1);
}

TEST_F(DamageWhileServingTest, AFlippedBitInADirectoryCostsItsChunk) {
  chunk_.flip(segment_, kChunkHeaderSize, 4);
  expect_lost(chunk_.first, chunk_.end());
  chunk_.flip(segment_, kChunkHeaderSize, 4);
  expect_lost(1, 1);
}

TEST_F(DamageWhileServingTest, ARangeThatEndsInsideADamagedChunkCountsItsPartOfIt) {
  chunk_.flip(segment_, 12, 0);
  ReadLimits limits;
  limits.last = chunk_.first;
  const auto read = store_->read(0, chunk_.first, limits, [](const StoredEvent&) { return true; });
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->missing, 1u);
  EXPECT_EQ(read->next, chunk_.first + 1);
}

TEST_F(StoreDamageTest, ADamagedSidecarIsRebuiltFromItsSegment) {
  make();
  for (const std::string& name : directory_.names(".fp"))
    flip(name, fs::file_size(path(name)) - 5, 1);
  auto store = open_store(options_, metrics_);
  {
    TestClient client(*store);
    for (int part = 0; part < 3; ++part)
      EXPECT_EQ(client.put(key(part, 7)).outcome, EntryOutcome::kDuplicate);
    store->stop();
  }
  store.reset();
  EXPECT_EQ(directory_.names(".fp").size(), 3u);
  const auto report = verify_store(directory_.path());
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->ok()) << report->problems.front();
  EXPECT_EQ(report->events, 300u);
  EXPECT_EQ(report->sidecars, 3u);
}

TEST_F(StoreDamageTest, WithoutItsStateTheStoreKeepsItsIdentityAndItsEvents) {
  make();
  MetricRegistry metrics;
  StoreId id;
  {
    auto store = open_store(options_, metrics);
    id = store->id();
    store->stop();
  }
  for (const char* name : {"state", "state.copy"}) fs::remove(path(name));
  auto store = open_store(options_, metrics);
  EXPECT_EQ(store->id(), id);
  EXPECT_EQ(read_all(*store, 0).raws.size(), 300u);
  TestClient client(*store);
  EXPECT_EQ(client.put(key(2, 7)).outcome, EntryOutcome::kDuplicate) << "the secret is the same";
  store->stop();
}

TEST_F(StoreDamageTest, ASegmentOfAnotherStoreIsNotServed) {
  make();
  TestDirectory other;
  StoreOptions options = small_options(other.path());
  MetricRegistry metrics;
  {
    auto store = open_store(options, metrics);
    TestClient client(*store);
    client.put("foreign");
    store->stop();
  }
  fs::copy_file(other.path() + "/seg-0-0000000000000001.weir", path("seg-0-0000000000001000.weir"));
  EXPECT_EQ(open_and_read(), 300u);
}

TEST_F(StoreDamageTest, VerifyNamesWhatIsDamagedAndInspectShowsWhatIsThere) {
  make();
  auto report = verify_store(directory_.path());
  ASSERT_TRUE(report.has_value()) << report.error().message;
  EXPECT_TRUE(report->ok()) << report->problems.front();
  EXPECT_EQ(report->events, 300u);
  EXPECT_EQ(report->segments, 3u);
  const auto rows = inspect_store(directory_.path());
  ASSERT_TRUE(rows.has_value());
  EXPECT_FALSE(rows->store_id.empty());
  uint64_t events = 0;
  for (const InspectRow& row : rows->files) events += row.kind == "segment" ? row.events : 0;
  EXPECT_EQ(events, 300u);

  const std::string name = directory_.names(".weir")[0];
  for (size_t page = 2; page < 8; ++page) flip(name, page * 4096 + 12, 3);
  report = verify_store(directory_.path());
  ASSERT_TRUE(report.has_value());
  ASSERT_FALSE(report->ok());
  EXPECT_NE(report->problems.front().find(name), std::string::npos) << report->problems.front();
}

TEST_F(StoreDamageTest, VerifyReadsADirectoryThatIsBeingWritten) {
#ifdef WEIR_TINY_LIMITS
  constexpr int kEvents = 20;  // a commit holds a handful of them
#else
  constexpr int kEvents = 200;
#endif
  auto store = open_store(options_, metrics_);
  TestClient client(*store);
  for (int round = 0; round < 20; ++round) {
    std::vector<TestEvent> events;
    for (int i = 0; i < kEvents; ++i)
      events.push_back({key(round, i), "shop", std::string(900, 'x')});
    client.lend(events);
    if (round % 5 != 0) continue;
    const auto report = verify_store(directory_.path());
    ASSERT_TRUE(report.has_value()) << report.error().message;
    for (const std::string& problem : report->problems) ADD_FAILURE() << problem;
  }
  EXPECT_TRUE(client.wait_all());
  store->stop();
}

}  // namespace
}  // namespace weir::storage
