// The store against a plain model, across crashes: a child process does random things to a store
// (append with new and repeated keys, mark lanes, roll segments) and says through a pipe what was
// acknowledged; the parent kills it at a random moment, or lets it stop, opens the store itself and
// compares. Retention deletes what the lane has finished, so that appending, reading, marking and
// deleting meet in every order.
//
// A run is made of its seed alone. WEIR_MODEL_SEED repeats one, WEIR_MODEL_ROUNDS lengthens it.
// kill -9 leaves the page cache behind; that a missing sync is found needs a power cut
// (tests/crash).
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <set>

#include "storage/base/log.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

// One thing the child knows to be durable.
struct Fact {
  enum class Kind : uint8_t { kEvent, kFrontier, kSent } kind{};
  uint16_t shard = 0;
  uint32_t key = 0;     // kEvent, kSent (lent, outcome not known yet)
  uint64_t number = 0;  // kEvent: of the event; kFrontier: of the lane
};

struct Model {
  std::map<uint32_t, Position> acknowledged;
  std::set<uint32_t> sent;
  std::vector<uint64_t> frontier;
};

std::string name_of(uint32_t key) { return "key-" + std::to_string(key); }

class Child {
 public:
  Child(const StoreOptions& options, uint64_t seed, uint32_t keys, int facts)
      : random_(seed), keys_(keys), facts_(facts), store_(open_store(options, metrics_)) {
    if (store_ == nullptr) _exit(3);
    client_ = std::make_unique<TestClient>(*store_);
    lanes_ = store_->make_lane_client(wakeup_);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) random_() % 8 == 0 ? mark() : append();
    store_->stop();
    client_.reset();
    lanes_.reset();
  }

 private:
  void say(const Fact& fact) {
    if (write(facts_, &fact, sizeof fact) != sizeof fact) _exit(4);
  }

  void append() {
    static constexpr size_t kSizes[] = {1, 1, 1, 2, 10, 100, 700};
    std::vector<TestEvent> events;
    std::vector<uint32_t> keys;
    for (size_t left = kSizes[random_() % std::size(kSizes)]; left > 0; --left) {
      const auto key = static_cast<uint32_t>(random_() % keys_);
      keys.push_back(key);
      std::string raw = name_of(key) + ' ';
      raw.resize(raw.size() + random_() % 900, 'x');
      events.push_back({name_of(key), "shop", raw});
      say({Fact::Kind::kSent, 0, key, 0});
    }
    const auto& sent = client_->send(events);
    if (sent.request.outcome != AppendOutcome::kCommitted) return;
    for (size_t i = 0; i < keys.size(); ++i)
      say({Fact::Kind::kEvent, sent.entries[i].shard, keys[i], sent.entries[i].number});
  }

  // The lane takes a step forward in one shard.
  void mark() {
    const auto shard = static_cast<uint16_t>(random_() % store_->shards());
    const auto lane = store_->lane("lane");
    const uint64_t at = lane->shards[shard].frontier;
    const uint64_t end = store_->committed_end(shard);
    if (end <= at) return;
    LaneUpdate update;
    update.lane = "lane";
    update.frontiers = {{shard, at + 1 + random_() % (end - at)}};
    lanes_->submit(update);
    while (lanes_->take_outcomes() == nullptr) wakeup_.wait(1'000'000'000);
    if (update.outcome) say({Fact::Kind::kFrontier, shard, 0, update.frontiers[0].second});
  }

  std::mt19937_64 random_;
  const uint32_t keys_;
  const int facts_;
  MetricRegistry metrics_;
  Wakeup wakeup_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<TestClient> client_;
  std::unique_ptr<LaneClient> lanes_;
};

class StoreModel : public ::testing::TestWithParam<unsigned> {
 protected:
  // Lets a child work for a while; true if it ended by itself.
  bool work(const StoreOptions& options, std::mt19937_64& random, Model* model) {
    int ends[2];
    WEIR_CHECK(pipe(ends) == 0);
    const uint64_t seed = random();
    const bool killed = random() % 4 != 0;
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      Child(options, seed, kKeys, ends[1]).run(killed ? 1'000'000 : 30);
      _exit(0);
    }
    close(ends[1]);
    const int64_t end =
        Clock::system().monotonic_ns() + static_cast<int64_t>(50 + random() % 400) * 1'000'000;
    bool open = true;
    bool alive = true;
    while (open) {
      if (killed && alive && Clock::system().monotonic_ns() > end) {
        kill(child, SIGKILL);
        alive = false;
      }
      pollfd poll_set{ends[0], POLLIN, 0};
      if (poll(&poll_set, 1, 5) > 0) open = take_fact(ends[0], model);
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (alive) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    return alive;
  }

  static bool take_fact(int fd, Model* model) {
    Fact fact;
    const ssize_t size = read(fd, &fact, sizeof fact);
    if (size != sizeof fact) return false;  // the end, or the half of one that a kill left
    switch (fact.kind) {
      case Fact::Kind::kSent:
        model->sent.insert(fact.key);
        break;
      case Fact::Kind::kEvent: {
        const Position position{fact.shard, fact.number};
        const auto [known, first] = model->acknowledged.emplace(fact.key, position);
        EXPECT_EQ(known->second, position) << "a key with two positions";
        break;
      }
      case Fact::Kind::kFrontier:
        model->frontier[fact.shard] = std::max(model->frontier[fact.shard], fact.number);
        break;
    }
    return true;
  }

  void compare(const StoreOptions& options, const Model& model, std::mt19937_64& random) {
    MetricRegistry metrics;
    auto store = open_store(options, metrics);
    ASSERT_NE(store, nullptr);
    const auto lane = store->lane("lane");
    ASSERT_TRUE(lane.has_value()) << lane.error().message;
    std::map<uint32_t, Position> found;
    std::vector<uint64_t> first;
    for (uint16_t shard = 0; shard < store->shards(); ++shard) {
      EXPECT_GE(lane->shards[shard].frontier, model.frontier[shard]) << "a mark went back";
      EXPECT_LE(lane->shards[shard].frontier, store->committed_end(shard));
      first.push_back(store->shard_status(shard).first);
      EXPECT_LE(first.back(), lane->shards[shard].low()) << "deleted before the lane had it";
      for (const auto& [number, raw] : read_all(*store, shard).raws) {
        const auto key = static_cast<uint32_t>(std::stoul(raw.substr(4)));
        EXPECT_TRUE(model.sent.contains(key)) << "nobody sent " << raw.substr(0, 20);
        EXPECT_TRUE(found.emplace(key, Position{shard, number}).second)
            << name_of(key) << " is stored twice";
      }
    }
    for (const auto& [key, position] : model.acknowledged) {
      if (position.number < first[position.shard]) continue;  // finished and deleted
      ASSERT_TRUE(found.contains(key)) << name_of(key) << " was acknowledged and is lost";
      EXPECT_EQ(found.at(key), position);
    }
    TestClient client(*store);
    for (int i = 0; i < 20 && !model.acknowledged.empty(); ++i) {
      auto known = model.acknowledged.lower_bound(static_cast<uint32_t>(random() % kKeys));
      if (known == model.acknowledged.end()) known = model.acknowledged.begin();
      const AppendEntry again = client.put(name_of(known->first));
      EXPECT_EQ(again.outcome, EntryOutcome::kDuplicate) << name_of(known->first);
      EXPECT_EQ((Position{again.shard, again.number}), known->second);
    }
    store->stop();
    store.reset();
    const auto report = verify_store(options.directory);
    ASSERT_TRUE(report.has_value()) << report.error().message;
    for (const std::string& problem : report->problems) ADD_FAILURE() << problem;
  }

  static constexpr uint32_t kKeys = 20'000;
};

TEST_P(StoreModel, EveryCrashLeavesWhatWasAcknowledgedOnceAndInPlace) {
  const uint64_t seed = from_environment("WEIR_MODEL_SEED", 20'261'120 + GetParam());
  const uint64_t rounds = from_environment("WEIR_MODEL_ROUNDS", 8);
  RecordProperty("seed", std::to_string(seed));
  printf("seed %lu\n", static_cast<unsigned long>(seed));
  log::configure({log::Level::kError, log::Format::kLogfmt});
  std::mt19937_64 random(seed);
  TestDirectory directory;
  StoreOptions options = small_options(directory.path());
  options.shards = 1 + GetParam() % 3;
  options.commit_max_events = 100 + random() % 400;
  options.retention_ms = 1;
  LaneOptions lane;
  lane.name = "lane";
  options.lanes = {lane};
  Model model;
  model.frontier.resize(options.shards, 1);
  for (uint64_t round = 0; round < rounds && !HasFailure(); ++round) {
    work(options, random, &model);
    compare(options, model, random);
  }
  EXPECT_GT(model.acknowledged.size(), 100u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModel, ::testing::Range(0U, 3U));

}  // namespace
}  // namespace weir::storage
