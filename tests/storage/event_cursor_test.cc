// The events of a segment by their numbers: each is found whatever chunk it lies in, and what is
// damaged is told with exactly the numbers it takes.
#include "storage/event_cursor.h"

#include <gtest/gtest.h>

#include "tests/storage/segment_fixture.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

class EventCursorTest : public ::testing::Test {
 protected:
  EventCursorTest() {
    header_.first = 1;
    writer_ = std::move(*SegmentWriter::create(path_, uint64_t{8} << 20));
  }
  // Groups of 12 events, each three chunks with the large ones alone.
  void add_group(uint64_t first) {
    std::vector<size_t> sizes(12, 90);
    sizes[4] = kMaxChunkBytes;
    ASSERT_EQ(append_group(*writer_, header_, first, sizes), 0);
  }
  ChunkInFile chunk_of(uint64_t number) const {
    for (const ChunkInFile& chunk : chunks_in(path_))
      if (chunk.first <= number && number < chunk.end()) return chunk;
    ADD_FAILURE() << "no chunk of " << number;
    return {};
  }

  struct Found {
    std::vector<uint64_t> events;
    std::vector<std::pair<uint64_t, uint64_t>> lost;  // number, events
  };
  Found read(uint64_t from) const {
    Found found;
    auto reader = SegmentReader::begin(writer_->env());
    EventCursor cursor(*reader, 0);
    for (bool more = cursor.seek(from); more; more = cursor.next()) {
      if (cursor.lost() > 0) {
        EXPECT_NE(cursor.problem(), "");
        found.lost.emplace_back(cursor.number(), cursor.lost());
        continue;
      }
      EXPECT_EQ(cursor.event().fingerprint.low, cursor.number());
      found.events.push_back(cursor.number());
    }
    EXPECT_EQ(reader->code(), 0);
    return found;
  }

  TestDirectory directory_;
  std::string path_ = directory_.path() + "/seg-0-0000000000000001.weir";
  SegmentHeader header_;
  std::unique_ptr<SegmentWriter> writer_;
};

std::vector<uint64_t> numbers(uint64_t first, uint64_t last) {
  std::vector<uint64_t> all;
  for (uint64_t number = first; number <= last; ++number) all.push_back(number);
  return all;
}

TEST_F(EventCursorTest, EveryNumberIsFoundAndTheRestBehindIt) {
  for (const uint64_t first : {1, 13, 25}) add_group(first);
  ASSERT_EQ(chunks_in(path_).size(), 9u);
  for (uint64_t from = 1; from <= 36; ++from) {
    const Found found = read(from);
    EXPECT_EQ(found.events, numbers(from, 36)) << from;
    EXPECT_TRUE(found.lost.empty());
  }
  EXPECT_TRUE(read(37).events.empty());
}

TEST_F(EventCursorTest, AnEmptySegmentHasNone) { EXPECT_TRUE(read(1).events.empty()); }

TEST_F(EventCursorTest, InAGapTheNextNumberIsFound) {
  add_group(1);
  add_group(31);
  for (const uint64_t from : {13, 20, 30, 31}) EXPECT_EQ(read(from).events, numbers(31, 42));
}

TEST_F(EventCursorTest, ADamagedEventCostsItself) {
  add_group(1);
  const ChunkInFile chunk = chunk_of(8);
  chunk.flip(path_, chunk.events_at() + (8 - chunk.first) * (kEventHeaderSize + 90) + 50, 3);
  const Found found = read(6);
  EXPECT_EQ(found.events, (std::vector<uint64_t>{6, 7, 9, 10, 11, 12}));
  EXPECT_EQ(found.lost, (std::vector<std::pair<uint64_t, uint64_t>>{{8, 1}}));
}

TEST_F(EventCursorTest, ADamagedDirectoryCostsItsChunkWhateverFollowsIt) {
  add_group(1);
  add_group(13);
  const ChunkInFile first = chunk_of(1);  // events 1 to 4, in front of another chunk
  const ChunkInFile last = chunk_of(12);  // events 6 to 12, in front of the commit block
  first.flip(path_, 12, 7);
  last.flip(path_, 20, 0);
  const Found found = read(1);
  std::vector<uint64_t> left = numbers(13, 24);
  left.insert(left.begin(), 5);
  EXPECT_EQ(found.events, left);
  EXPECT_EQ(found.lost, (std::vector<std::pair<uint64_t, uint64_t>>{{1, 4}, {6, 7}}));
  EXPECT_EQ(read(3).lost.front(), (std::pair<uint64_t, uint64_t>{3, 2})) << "the rest of it";
  EXPECT_EQ(read(5).lost.front(), (std::pair<uint64_t, uint64_t>{6, 7}));
  EXPECT_TRUE(read(13).lost.empty());
}

TEST_F(EventCursorTest, NumbersAscendAlsoWhenChunksOverlap) {
  ASSERT_EQ(writer_->begin(), 0);
  for (const uint64_t first : {1, 3, 4}) {
    ChunkPlan plan;
    plan.begin(kSmallGroupBytes);
    for (int i = 0; i < 4; ++i) plan.add(kEventHeaderSize);
    char* to = nullptr;
    ASSERT_EQ(writer_->reserve(event_key(first), plan.chunks()[0].bytes, &to), 0);
    ChunkEncoder chunk(to, 0, first, plan.chunks()[0]);
    for (uint64_t number = first; chunk.left() > 0; ++number) chunk.add(1, {number, 1}, {}, {});
    chunk.finish();
  }
  ASSERT_EQ(writer_->commit(), 0);
  EXPECT_EQ(read(1).events, numbers(1, 7));
}

}  // namespace
}  // namespace weir::storage
