// Segments: what a walk finds in sound and in damaged files, and that a damaged one never takes the
// process with it.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <random>

#include "storage/segment_check.h"
#include "storage/segment_set.h"
#include "tests/storage/segment_fixture.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

class SegmentTest : public ::testing::Test {
 protected:
  SegmentTest() {
    header_.first = 1;
    header_.created_ms = 500;
    header_.store_id = StoreId::generate();
  }
  // A segment with events of many sizes: in leaves, in pages of their own, a tree of some depth.
  void fill(int groups) {
    auto writer = SegmentWriter::create(path_, uint64_t{8} << 20);
    ASSERT_TRUE(writer.has_value()) << writer.error().message;
    uint64_t next = 1;
    for (int group = 0; group < groups; ++group) {
      std::vector<size_t> sizes;
      for (int i = 0; i < 20; ++i)
        sizes.push_back(i == 7 ? 9'000 : static_cast<size_t>(40 + i * 90));
      ASSERT_EQ(append_group(**writer, header_, next, sizes), 0);
      next += sizes.size();
    }
    events_ = next - 1;
  }
  std::string bytes() const { return file_content(path_); }
  void write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  TestDirectory directory_;
  std::string path_ = directory_.path() + "/seg-0-0000000000000001.weir";
  SegmentHeader header_;
  uint64_t events_ = 0;
};

TEST_F(SegmentTest, AWalkSumsUpASoundSegment) {
  fill(30);
  const SegmentWalk walk = walk_segment(path_, 0, 1, SegmentAccess::kReadSealed);
  EXPECT_EQ(walk.problem, "");
  EXPECT_EQ(walk.summary.first, 1u);
  EXPECT_EQ(walk.summary.last, events_);
  EXPECT_EQ(walk.summary.events, 600u);
  EXPECT_EQ(walk.summary.fingerprints, 600u);
  EXPECT_EQ(walk.summary.tenants.at("shop"), 600u);
  EXPECT_EQ(walk.summary.store_id, header_.store_id);
}

TEST_F(SegmentTest, AnEmptySegmentIsSound) {
  ASSERT_TRUE(SegmentWriter::create(path_, uint64_t{1} << 20).has_value());
  const SegmentWalk walk = walk_segment(path_, 0, 1, SegmentAccess::kReadSealed);
  EXPECT_EQ(walk.problem, "");
  EXPECT_TRUE(walk.summary.empty());
}

TEST_F(SegmentTest, ASegmentUnderAnotherNameIsNotBelieved) {
  fill(1);
  EXPECT_NE(walk_segment(path_, 0, 2, SegmentAccess::kReadSealed).problem, "");
  EXPECT_NE(walk_segment(path_, 1, 1, SegmentAccess::kReadSealed).problem, "");
}

TEST_F(SegmentTest, ASegmentOfAnotherFormatVersionIsNamedAsSuch) {
  std::string bytes;
  encode_header(bytes, header_);
  bytes[8] = kFormatVersion - 1;
  store_le(bytes.data(),
           checksum64(std::string_view(bytes).substr(8), checksum_seed(0, kHeaderKey)));
  {
    auto writer = SegmentWriter::create(path_, uint64_t{1} << 20);
    ASSERT_TRUE(writer.has_value());
    ASSERT_EQ((*writer)->begin(), 0);
    ASSERT_EQ((*writer)->append(kHeaderKey, bytes), 0);
    ASSERT_EQ((*writer)->commit(), 0);
  }
  EXPECT_EQ(walk_segment(path_, 0, 1, SegmentAccess::kReadSealed).problem,
            fmt::format("it has format version {}, this build reads version {}", kFormatVersion - 1,
                        kFormatVersion));
}

TEST_F(SegmentTest, AWalkNamesTheChunkOrTheEventThatIsDamaged) {
  fill(3);
  const std::vector<ChunkInFile> chunks = chunks_in(path_);
  const std::string sound = bytes();
  chunks[1].flip(path_, 12, 6);
  EXPECT_EQ(
      walk_segment(path_, 0, 1, SegmentAccess::kReadSealed).problem,
      fmt::format("the chunk of event {}: its directory fails its checksum", chunks[1].first));
  write(sound);
  chunks[1].flip(path_, chunks[1].events_at() + 2, 6);
  EXPECT_EQ(walk_segment(path_, 0, 1, SegmentAccess::kReadSealed).problem,
            fmt::format("event {} fails its checksum", chunks[1].first));
}

TEST_F(SegmentTest, TheCostEstimateIsNeverBelowWhatAGroupTakes) {
  std::mt19937_64 random(11);
  const auto any_up_to = [&](size_t largest) {
    return [&, largest] { return random() % largest; };
  };
  // Chunks of half a leaf between events that are chunks of their own, and small groups whose one
  // chunk and commit block share a leaf with no room for the next chunk.
  bool large = false;
  const auto in_turns = [&] { return (large = !large) ? kMaxChunkBytes : size_t{1'960}; };
  struct Case {
    std::function<size_t()> size;
    size_t most_in_group;
  };
  for (const Case& test :
       {Case{any_up_to(60), 400}, Case{any_up_to(500), 400}, Case{any_up_to(1'400), 400},
        Case{any_up_to(2'100), 3}, Case{any_up_to(20'000), 400}, Case{any_up_to(200'000), 20},
        Case{[] { return size_t{1'960}; }, 1}, Case{in_turns, 20}}) {
    auto writer = SegmentWriter::create(path_, uint64_t{8} << 20);
    ASSERT_TRUE(writer.has_value());
    uint64_t next = 1;
    while (next < 10'000) {
      std::vector<size_t> sizes(1 + random() % test.most_in_group);
      for (size_t& size : sizes) size = test.size();
      uint64_t cost = SegmentWriter::record_cost(56 + 16 * sizes.size() + 16) +
                      SegmentWriter::record_cost(kSegmentHeaderSize);
      const ChunkPlan plan = plan_of(sizes);
      for (const ChunkSize& chunk : plan.chunks()) cost += SegmentWriter::record_cost(chunk.bytes);
      if (!(*writer)->fits(cost)) break;
      const uint64_t used = (*writer)->env()->used_bytes();
      ASSERT_EQ(append_group(**writer, header_, next, sizes), 0) << "it seemed to fit";
      EXPECT_LE((*writer)->env()->used_bytes() - used, cost + 16 * 4'096) << sizes.size();
      next += sizes.size();
    }
    EXPECT_GT(next, 50u);
  }
}

TEST_F(SegmentTest, CommitBlocksAreFoundWithoutReadingEvents) {
  fill(10);
  auto env = SegmentEnv::open(path_, SegmentAccess::kReadSealed, 0);
  ASSERT_TRUE(env.has_value());
  std::vector<uint64_t> firsts;
  const auto take = [&](const CommitBlock& block) {
    firsts.push_back(block.first);
    return true;
  };
  ASSERT_TRUE(for_each_commit(*env, 0, 1, 200, take).has_value());
  EXPECT_EQ(firsts.size(), 10u);
  EXPECT_EQ(firsts.front(), 181u);
  EXPECT_EQ(firsts.back(), 1u);
  firsts.clear();
  ASSERT_TRUE(for_each_commit(*env, 0, 25, 60, take).has_value());
  EXPECT_EQ(firsts, (std::vector<uint64_t>{41, 21}));
  firsts.clear();
  ASSERT_TRUE(for_each_commit(*env, 0, 195, 900, take).has_value());
  EXPECT_EQ(firsts, (std::vector<uint64_t>{181}));
}

TEST_F(SegmentTest, FlippedBitsAreFoundInAChildAndTheProcessLives) {
  fill(12);
  const std::string sound = bytes();
  auto check = DamageCheck::start();
  ASSERT_TRUE(check.has_value());
  std::mt19937_64 random(1);
  int found = 0;
  int unnoticed = 0;
  for (int trial = 0; trial < 120; ++trial) {
    std::string broken = sound;
    // Mostly page headers and what follows them, where LMDB keeps what it trusts.
    const size_t page = random() % (broken.size() / 4096);
    const size_t at = page * 4096 + (trial % 4 == 0 ? random() % 4096 : random() % 64);
    broken[at] = static_cast<char>(broken[at] ^ (1 << random() % 8));
    write(broken);
    const auto result = (*check)->check(path_, 0, 1, SegmentAccess::kReadSealed);
    if (!result) {
      EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << result.error().message;
      ++found;
      continue;
    }
    // A bit in a part that nobody uses (free pages, the older meta page): then every event is
    // there.
    EXPECT_EQ(result->events, events_);
    ++unnoticed;
  }
  EXPECT_GT(found, 30) << unnoticed << " unnoticed";
  write(sound);
  EXPECT_TRUE((*check)->check(path_, 0, 1, SegmentAccess::kReadSealed).has_value());
}

TEST_F(SegmentTest, ATruncatedFileIsDamagedAndAMissingOneToo) {
  fill(12);
  const std::string sound = bytes();
  auto check = DamageCheck::start();
  ASSERT_TRUE(check.has_value());
  for (const size_t size : {size_t{0}, size_t{100}, size_t{4096}, size_t{8192}, sound.size() / 2,
                            sound.size() - 4096}) {
    write(sound.substr(0, size));
    const auto result = (*check)->check(path_, 0, 1, SegmentAccess::kReadSealed);
    // The last page may be a free one.
    if (result) {
      EXPECT_EQ(result->events, events_) << size;
    }
    EXPECT_EQ(result.has_value(), size == sound.size() - 4096 && result.has_value()) << size;
  }
  unlink(path_.c_str());
  EXPECT_FALSE((*check)->check(path_, 0, 1, SegmentAccess::kReadSealed).has_value());
}

TEST_F(SegmentTest, ACheckerThatWasKilledIsReplaced) {
  fill(2);
  auto check = DamageCheck::start();
  ASSERT_TRUE(check.has_value());
  kill((*check)->helper(), SIGKILL);
  EXPECT_TRUE((*check)->check(path_, 0, 1, SegmentAccess::kReadSealed).has_value());
}

}  // namespace
}  // namespace weir::storage
