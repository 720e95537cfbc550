// The rows of docs/crash-matrix.md that concern state and dead letters: the process is killed
// between any two system calls of a step, and a flipped bit anywhere in a file is survived.
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>

#include "storage/disk.h"
#include "storage/lmdb_file.h"
#include "tests/storage/state_support.h"

// The calls that make something durable pass through here: the n-th ends the process, or a sync
// fails. Linked into the test program, these take the place of the C library's.
namespace {
std::atomic<int> kill_at{0};  // 0: never
std::atomic<bool> fail_sync{false};
std::atomic<int> calls{0};

void step() {
  if (kill_at.load() != 0 && ++calls == kill_at.load()) kill(getpid(), SIGKILL);
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}
}  // namespace

extern "C" {
int fdatasync(int fd) {
  static const auto call = real<int (*)(int)>("fdatasync");
  step();
  if (fail_sync.load()) {
    errno = EIO;
    return -1;
  }
  return call(fd);
}
int fsync(int fd) {
  static const auto call = real<int (*)(int)>("fsync");
  step();
  return call(fd);
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t at) {
  static const auto call = real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  step();
  return call(fd, from, size, at);
}
ssize_t pwritev(int fd, const struct iovec* from, int count, off_t at) {
  static const auto call = real<ssize_t (*)(int, const struct iovec*, int, off_t)>("pwritev");
  step();
  return call(fd, from, count, at);
}
int rename(const char* from, const char* to) noexcept {
  static const auto call = real<int (*)(const char*, const char*)>("rename");
  step();
  return call(from, to);
}
int unlink(const char* path) noexcept {
  static const auto call = real<int (*)(const char*)>("unlink");
  step();
  return call(path);
}
}

namespace weir::storage {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kStateBytes = 256 << 10;

StateFixture fixture_in(const std::string& path) {
  StateFixture fixture(path);
  fixture.options.state_bytes = kStateBytes;
  return fixture;
}

// A number the child tells, also when it is killed.
class Told {
 public:
  Told() {
    at_ = static_cast<std::atomic<uint64_t>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    *at_ = 0;
  }
  ~Told() { munmap(at_, 4096); }
  Told(const Told&) = delete;
  Told& operator=(const Told&) = delete;
  std::atomic<uint64_t>& operator*() { return *at_; }

 private:
  std::atomic<uint64_t>* at_;
};

// Runs child with a kill at its n-th step that writes, syncs or names, for n = 1, 2, ... until it
// ends by itself, each time in a fresh copy of a directory, and checks what was left. Returns n.
int kill_at_each_step(const std::function<void(const std::string&)>& prepare,
                      const std::function<void(const std::string&)>& child,
                      const std::function<void(const std::string&)>& check) {
  TempDirectory prepared(Medium::kMemory);
  prepare(prepared.path());
  for (int n = 1;; ++n) {
    SCOPED_TRACE(n);
    TempDirectory directory(Medium::kMemory);
    std::filesystem::copy(prepared.path(), directory.path(),
                          std::filesystem::copy_options::recursive);
    const int status = run_in_child([&] {
      calls = 0;
      kill_at = n;
      child(directory.path());
      kill_at = 0;
    });
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(killed || status == 0) << "status " << status;
    check(directory.path());
    if (!killed || ::testing::Test::HasFailure()) return n;
  }
}

void make_store(const std::string& path) {
  StateFixture fixture = fixture_in(path);
  ASSERT_TRUE(fixture.open());
}

TEST(StateCrash, WhileTheDirectoryIsMadeLeavesOneThatStarts) {
  const int steps = kill_at_each_step([](const std::string&) {},
                                      [](const std::string& path) {
                                        StateFixture fixture = fixture_in(path);
                                        EXPECT_TRUE(fixture.open());
                                      },
                                      [](const std::string& path) {
                                        StateFixture fixture = fixture_in(path);
                                        ASSERT_TRUE(fixture.open());
                                        EXPECT_FALSE(std::filesystem::exists(path + "/damaged"));
                                        EXPECT_FALSE(std::filesystem::exists(path + "/state.new"));
                                      });
  EXPECT_GT(steps, 8);
}

TEST(StateCrash, WhileMarkingLosesNothingThatCameBackAndTearsNothing) {
  Told acknowledged;
  kill_at_each_step(
      make_store,
      [&](const std::string& path) {
        *acknowledged = 0;
        StateFixture fixture = fixture_in(path);
        EXPECT_TRUE(fixture.open());
        LaneOwner owner(*fixture.state);
        for (uint64_t i = 1; i <= 3; ++i) {
          LaneUpdate update = update_of("saas");
          update.frontiers = {{0, 10 * i + 1}};
          update.put = {range_of(1'000'000 + i, 10 * i - 9, 10 * i)};
          if (i > 1) update.close = {1'000'000 + i - 1};
          update.counts.sent = 10;
          EXPECT_TRUE(owner.mark(update));
          *acknowledged = i;
        }
      },
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        ASSERT_TRUE(fixture.open());
        EXPECT_EQ(fixture.state->origin(), StateOrigin::kLoaded);
        const LaneState lane = *fixture.state->lane("saas");
        const uint64_t steps = (lane.shards[0].frontier - 1) / 10;
        EXPECT_GE(steps, *acknowledged);
        EXPECT_LE(steps, *acknowledged + 1);
        EXPECT_EQ(lane.counts.sent, 10 * steps);
        ASSERT_EQ(lane.shards[0].open.size(), steps > 0 ? 1u : 0u);
        if (steps > 0) {
          EXPECT_EQ(lane.shards[0].open.begin()->first, 1'000'000 + steps);
        }
      });
}

TEST(StateCrash, BetweenALetterAndItsMarkDoublesNothing) {
  const auto fail_two = [] {
    LaneUpdate update = update_of("saas");
    update.frontiers = {{0, 11}};
    update.dead_letters = {letter_of(3), letter_of(4)};
    update.counts.failed = 2;
    update.counts.sent = 8;
    return update;
  };
  kill_at_each_step(
      make_store,
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        EXPECT_TRUE(fixture.open());
        LaneOwner owner(*fixture.state);
        LaneUpdate update = fail_two();
        EXPECT_TRUE(owner.mark(update));
      },
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        ASSERT_TRUE(fixture.open());
        const LaneState before = *fixture.state->lane("saas");
        const bool marked = before.shards[0].frontier == 11;
        EXPECT_EQ(fixture.state->dead_letters().size(), marked ? 2u : 0u);
        EXPECT_EQ(before.counts.failed, marked ? 2u : 0u);
        if (!marked) {  // the batch is sent again and fails again
          LaneOwner owner(*fixture.state);
          LaneUpdate update = fail_two();
          ASSERT_TRUE(owner.mark(update));
        }
        ASSERT_TRUE(fixture.reopen());
        EXPECT_EQ(fixture.state->dead_letters().size(), 2u);
        EXPECT_EQ(fixture.state->lane("saas")->counts.failed, 2u);
      });
}

TEST(StateCrash, WhileASegmentIsDeletedCountsItsEventsOnce) {
  FakeLog log;
  log.fill(0, 20);
  const std::string segment = "/seg-0-1.weir";
  kill_at_each_step(
      [&](const std::string& path) {
        make_store(path);
        std::ofstream(path + segment) << "events";
      },
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        EXPECT_TRUE(fixture.open());
        EXPECT_TRUE(fixture.state->trim({0, 10, log.counted(0, 1, 10)}, log));
        unlink((path + segment).c_str());
      },
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        ASSERT_TRUE(fixture.open());
        const ShardPast past = fixture.state->past(0);
        const bool there = std::filesystem::exists(path + segment);
        // Gone only after the decision; decided but there is a leftover below lowest_live.
        EXPECT_TRUE(there || past.lowest_live == 11);
        EXPECT_EQ(past.accepted.events, past.lowest_live == 11 ? 10u : 0u);
        ASSERT_TRUE(fixture.state->trim({0, 10, log.counted(0, 1, 10)}, log));
        EXPECT_EQ(fixture.state->past(0).accepted.events, 10u);
      });
}

TEST(StateCrash, WhileCopyingLeavesTheOldCopyOrTheNewOne) {
  kill_at_each_step(
      make_store,
      [&](const std::string& path) {
        StateFixture fixture = fixture_in(path);
        EXPECT_TRUE(fixture.open());
        EXPECT_TRUE(fixture.state->write_copy());
      },
      [&](const std::string& path) {
        const StateInspection copy = inspect_state(path + "/state.copy");
        EXPECT_TRUE(copy.problems.empty()) << copy.problems.front();
        ASSERT_EQ(copy.lanes.size(), 1u);
        StateFixture fixture = fixture_in(path);
        ASSERT_TRUE(fixture.open());
        fixture.state->stop();
        EXPECT_FALSE(std::filesystem::exists(path + "/state.copy.new"));
      });
}

TEST(StateCrash, AFailedSyncIsFinalUntilRestart) {
  TempDirectory directory;
  StateFixture fixture = fixture_in(directory.path());
  ASSERT_TRUE(fixture.open());
  {
    LaneOwner owner(*fixture.state);
    LaneUpdate fine = update_of("saas"), lost = update_of("saas"), late = update_of("saas");
    fine.frontiers = {{0, 5}};
    lost.frontiers = {{0, 9}};
    late.frontiers = {{0, 12}};
    ASSERT_TRUE(owner.mark(fine));
    fail_sync = true;
    const Status first = owner.mark(lost);
    fail_sync = false;
    ASSERT_FALSE(first);
    EXPECT_EQ(first.error().code, ErrorCode::kIo);
    const Status second = owner.mark(late);
    ASSERT_FALSE(second) << "a later success must not cover the failed one";
    EXPECT_EQ(second.error().message, first.error().message);
    EXPECT_THAT(second.error().message, HasSubstr("restarted"));
    EXPECT_FALSE(fixture.state->failure());
    EXPECT_EQ(fixture.state->lane("saas")->shards[0].frontier, 5u);
  }
  ASSERT_TRUE(fixture.reopen());
  EXPECT_FALSE(fixture.state->was_clean_stop());
  EXPECT_TRUE(fixture.state->failure());
  EXPECT_LE(fixture.state->lane("saas")->shards[0].frontier, 9u);
}

TEST(StateCrash, AFullDiskFailsNoMark) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small file system needs root";
  TempDirectory directory;
  if (mount("tmpfs", directory.path().c_str(), "tmpfs", 0, "size=6m") != 0)
    GTEST_SKIP() << "cannot mount a tmpfs here: " << strerror(errno);
  {
    StateFixture fixture(directory.path());
    fixture.options.state_bytes = 2 << 20;
    ASSERT_TRUE(fixture.open());
    ASSERT_TRUE(fixture.state->write_copy());
    const auto fill = [&] {
      std::ofstream ballast(directory.file("ballast"), std::ios::binary);
      const std::string block(64 << 10, 'b');
      while (ballast.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
      }
      ballast.clear();
      while (ballast.put('b').flush()) {
      }
    };
    fill();
    ASSERT_EQ(*disk_free_bytes(directory.path()), 0u);
    LaneOwner owner(*fixture.state);
    for (uint64_t i = 1; i <= 200; ++i) {
      LaneUpdate update = update_of("saas");
      update.frontiers = {{0, i + 1}};
      update.put = {range_of(i, i, i)};
      if (i > 1) update.close = {i - 1};
      update.deliveries = {{i, 0, i, i, 1, 200, 1}};
      ASSERT_TRUE(owner.mark(update)) << update.outcome.error().message;
    }
    // What needs new space fails as a state, not for good.
    EXPECT_FALSE(fixture.state->write_copy());
    LaneUpdate failed = update_of("saas");
    failed.dead_letters = {letter_of(3)};
    EXPECT_EQ(owner.mark(failed).error().code, ErrorCode::kNoSpace);
    EXPECT_TRUE(fixture.state->failure());
    std::filesystem::remove(directory.file("ballast"));
    EXPECT_TRUE(owner.mark(failed));
    EXPECT_TRUE(fixture.state->write_copy());
    // Stopping and starting again on a full disk works as well.
    fill();
  }
  {
    StateFixture fixture(directory.path());
    fixture.options.state_bytes = 2 << 20;
    ASSERT_TRUE(fixture.open());
    EXPECT_EQ(fixture.state->lane("saas")->shards[0].frontier, 201u);
  }
  umount(directory.path().c_str());
}

// ---- damage

void flip_bit(const std::string& path, uint64_t offset, unsigned bit) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char byte = 0;
  ASSERT_EQ(1, pread(fd, &byte, 1, static_cast<off_t>(offset)));
  byte = static_cast<char>(byte ^ (1 << bit));
  ASSERT_EQ(1, pwrite(fd, &byte, 1, static_cast<off_t>(offset)));
  close(fd);
}

// A store whose copy is one step behind.
void make_used_store(const std::string& path, StoreIdentity* identity) {
  StateFixture fixture = fixture_in(path);
  ASSERT_TRUE(fixture.open());
  *identity = fixture.state->identity();
  LaneOwner owner(*fixture.state);
  for (uint64_t i = 1; i <= 40; ++i) {
    LaneUpdate update = update_of("saas");
    update.frontiers = {{0, 10 * i + 1}};
    update.put = {range_of(i, 10 * i - 9, 10 * i)};
    if (i > 3) update.close = {i - 3};
    update.deliveries = {{i, 0, 10 * i - 9, 10 * i, 1, 200, 1}};
    update.tenants["tenant-" + std::to_string(i)].sent = i;
    ASSERT_TRUE(owner.mark(update));
    if (i == 30) {
      ASSERT_TRUE(fixture.state->write_copy());
    }
  }
  std::filesystem::copy(path + "/state.copy", path + "/copy-at-30");
  fixture.state->stop();
  std::filesystem::rename(path + "/copy-at-30", path + "/state.copy");
}

TEST(StateDamage, AFlippedBitIsFoundOrHarmlessAndPositionsAreNeverNewer) {
  TempDirectory used(Medium::kMemory);
  StoreIdentity identity;
  make_used_store(used.path(), &identity);
  ASSERT_FALSE(::testing::Test::HasFailure());
  uint64_t used_pages = 0;  // which ones varies: the copy's reader pins some while it runs
  {
    LmdbFile::Options options;
    options.read_only = options.exclusive = true;
    const auto file = LmdbFile::open(used.file("state"), options);
    ASSERT_TRUE(file);
    used_pages = file->used_bytes() / 4096;
  }
  std::mt19937 random(7);
  int damaged = 0, both = 0;
  const char* more = getenv("WEIR_DAMAGE_TRIALS");
  const int trials = more != nullptr ? atoi(more) : 80;
  for (int trial = 0; trial < trials && !::testing::Test::HasFailure(); ++trial) {
    SCOPED_TRACE(trial);
    TempDirectory directory(Medium::kMemory);
    std::filesystem::copy(used.path(), directory.path());
    const bool headers = trial % 2 == 0;  // half of them where LMDB believes everything
    const auto offset = [&] {
      return random() % used_pages * 4096 + random() % (headers ? 64 : 4096);
    };
    const bool copy_too = trial % 4 == 3;
    for (int flips = copy_too ? 12 : 1; flips > 0; --flips)
      flip_bit(directory.file("state"), offset(), random() % 8);
    // Most flips are harmless: an eighth of the trials each is surely not. LMDB's magic number in
    // both meta pages.
    if (trial % 8 == 4 || trial % 8 == 7)
      for (const uint64_t page : {0, 1}) flip_bit(directory.file("state"), page * 4096 + 16, 0);
    if (copy_too)
      for (uint64_t page = 0; page < file_bytes(directory.file("state.copy")) / 4096; ++page)
        flip_bit(directory.file("state.copy"), page * 4096 + random() % 16, random() % 8);
    StateFixture fixture = fixture_in(directory.path());
    fixture.segments = identity;
    ASSERT_TRUE(fixture.open());
    EXPECT_EQ(fixture.state->identity().id, identity.id);
    EXPECT_EQ(0, memcmp(fixture.state->identity().secret.bytes, identity.secret.bytes,
                        DedupeSecret::kSize));
    const uint64_t frontier = fixture.state->lane("saas")->shards[0].frontier;
    switch (fixture.state->origin()) {
      case StateOrigin::kLoaded:
        EXPECT_EQ(frontier, 401u);
        break;
      case StateOrigin::kCopy:
        ++damaged;
        EXPECT_EQ(frontier, 301u);
        EXPECT_TRUE(fixture.state->deliveries("saas", {0, 5})->size() == 1);
        EXPECT_TRUE(std::filesystem::exists(directory.file("damaged")));
        break;
      default:
        ++both;
        EXPECT_EQ(frontier, 1u);
        break;
    }
    if (fixture.state->origin() != StateOrigin::kLoaded) {
      EXPECT_GE(fixture.state->next_batch_number(), uint64_t{1} << 40);
    }
    LaneOwner owner(*fixture.state);
    LaneUpdate update = update_of("saas");
    update.frontiers = {{0, 501}};
    ASSERT_TRUE(owner.mark(update));
  }
  EXPECT_GT(damaged, 5);
  EXPECT_GT(both, 1);
}

TEST(StateDamage, AMissingStateFallsBackToTheCopyAndKeepsFailedEvents) {
  TempDirectory directory;
  StateFixture fixture = fixture_in(directory.path());
  ASSERT_TRUE(fixture.open());
  ASSERT_TRUE(fixture.state->write_copy());
  std::filesystem::copy(directory.file("state.copy"), directory.file("old"));
  {
    LaneOwner owner(*fixture.state);
    LaneUpdate update = update_of("saas");
    update.dead_letters = {letter_of(3)};
    ASSERT_TRUE(owner.mark(update));
  }
  fixture.state->stop();
  std::filesystem::remove(directory.file("state"));
  std::filesystem::rename(directory.file("old"), directory.file("state.copy"));
  for (int run = 0; run < 2; ++run) {  // also after the restored state was loaded once
    ASSERT_TRUE(fixture.open());
    EXPECT_EQ(fixture.state->origin(), run == 0 ? StateOrigin::kCopy : StateOrigin::kLoaded);
    EXPECT_EQ(fixture.state->dead_letters().size(), 1u);
    fixture.state->stop();
  }
}

TEST(StateDamage, TruncatedAndEmptyFilesAreSetAside) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{4096}, uint64_t{9000}}) {
    SCOPED_TRACE(size);
    TempDirectory directory;
    StoreIdentity identity;
    make_used_store(directory.path(), &identity);
    std::filesystem::resize_file(directory.file("state"), size);
    StateFixture fixture = fixture_in(directory.path());
    ASSERT_TRUE(fixture.open());
    EXPECT_EQ(fixture.state->origin(), StateOrigin::kCopy);
  }
}

}  // namespace
}  // namespace weir::storage
