// Chunks: every event decodes to what was encoded, a damaged one costs itself, a damaged directory
// the chunk, and a directory that lies is refused whatever it says.
#include "storage/chunk.h"

#include <gtest/gtest.h>

#include <functional>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr unsigned kShard = 2;
constexpr uint64_t kFirst = 77;

std::string raw_of(uint64_t number) { return "raw" + std::string(number % 5, 'x'); }

std::string encoded_chunk(uint32_t count) {
  ChunkPlan plan;
  plan.begin(kSmallGroupBytes);
  for (uint64_t number = kFirst; number < kFirst + count; ++number)
    plan.add(kEventHeaderSize + 1 + raw_of(number).size());
  WEIR_CHECK(plan.chunks().size() == 1);
  std::string bytes(plan.chunks()[0].bytes, '?');
  ChunkEncoder chunk(bytes.data(), kShard, kFirst, plan.chunks()[0]);
  for (uint64_t number = kFirst; chunk.left() > 0; ++number)
    chunk.add(static_cast<int64_t>(number) * 10, {number, 8}, "h", raw_of(number));
  chunk.finish();
  return bytes;
}

size_t directory_size(uint32_t count) { return kChunkHeaderSize + count * kChunkEndSize; }

// As whoever wrote a wrong directory would have done it.
void repair_checksum(std::string& bytes, uint32_t count) {
  store_le(bytes.data(), checksum64(std::string_view(bytes).substr(8, directory_size(count) - 8),
                                    checksum_seed(kShard, event_key(kFirst))));
}

std::string problem_of(std::string_view bytes, unsigned shard = kShard, uint64_t first = kFirst) {
  ChunkView view;
  return std::string(view.decode(bytes, shard, first));
}

TEST(Chunk, EveryEventDecodesToWhatWasEncoded) {
  const std::string bytes = encoded_chunk(9);
  ChunkView view;
  ASSERT_EQ(view.decode(bytes, kShard, kFirst), "");
  EXPECT_EQ(view.first(), kFirst);
  EXPECT_EQ(view.count(), 9u);
  EXPECT_EQ(view.end(), kFirst + 9);
  for (uint64_t number = kFirst; number < view.end(); ++number) {
    EventRecord record;
    ASSERT_TRUE(view.event(number, &record)) << number;
    EXPECT_EQ(record.received_ms, static_cast<int64_t>(number) * 10);
    EXPECT_EQ(record.fingerprint, (Fingerprint{number, 8}));
    EXPECT_EQ(record.payload, "h" + raw_of(number));
  }
}

TEST(Chunk, APlanFillsChunksToTheirLimitAndAnEventAboveItStandsAlone) {
  ChunkPlan plan;
  plan.begin(10 * kMaxChunkBytes);
  constexpr size_t kRecord = 500;
  constexpr size_t kFit = (kMaxChunkBytes - kChunkHeaderSize) / (kChunkEndSize + kRecord);
  for (size_t i = 0; i < kFit + 1; ++i) plan.add(kRecord);
  plan.add(kMaxChunkBytes);
  plan.add(kRecord);
  std::vector<uint32_t> counts;
  for (const ChunkSize& chunk : plan.chunks()) {
    counts.push_back(chunk.count);
    EXPECT_TRUE(chunk.count == 1 || chunk.bytes <= kMaxChunkBytes) << chunk.bytes;
  }
  EXPECT_EQ(counts, (std::vector<uint32_t>{kFit, 1, 1, 1}));
  EXPECT_EQ(plan.chunks()[2].bytes, kChunkHeaderSize + kChunkEndSize + kMaxChunkBytes);
}

TEST(Chunk, EventsOfASmallGroupStandAlone) {
  ChunkPlan plan;
  plan.begin(kSmallGroupBytes - 1);
  plan.add(100);
  plan.add(200);
  ASSERT_EQ(plan.chunks().size(), 2u);
  EXPECT_EQ(plan.chunks()[1].bytes, kChunkHeaderSize + kChunkEndSize + 200);
  plan.begin(kSmallGroupBytes);
  EXPECT_TRUE(plan.chunks().empty());
  plan.add(100);
  plan.add(200);
  ASSERT_EQ(plan.chunks().size(), 1u);
  EXPECT_EQ(plan.chunks()[0].count, 2u);
}

TEST(Chunk, AChunkInTheWrongPlaceFails) {
  const std::string bytes = encoded_chunk(3);
  EXPECT_NE(problem_of(bytes, kShard, kFirst + 1), "");
  EXPECT_NE(problem_of(bytes, kShard + 1, kFirst), "");
}

TEST(Chunk, AFlippedBitInTheDirectoryCostsTheChunkAndOneInAnEventThatEvent) {
  constexpr uint32_t kCount = 4;
  std::string bytes = encoded_chunk(kCount);
  const size_t first_event = directory_size(kCount);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    ChunkView view;
    const bool sound = view.decode(bytes, kShard, kFirst).empty();
    EXPECT_EQ(sound, bit / 8 >= first_event) << bit;
    size_t events = 0;
    for (uint64_t number = kFirst; sound && number < view.end(); ++number) {
      EventRecord record;
      events += view.event(number, &record) ? 1 : 0;
    }
    EXPECT_EQ(events, sound ? kCount - 1 : 0) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(Chunk, AChunkThatEndsTooEarlyOrGoesOnFails) {
  const std::string bytes = encoded_chunk(3);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(problem_of(std::string_view(bytes).substr(0, size)), "") << size;
  EXPECT_EQ(problem_of(bytes + "x"), "its directory does not describe its events");
}

TEST(Chunk, ADirectoryThatLiesIsRefusedWhateverItSays) {
  constexpr uint32_t kCount = 3;
  const auto changed = [&](const std::function<void(std::string&)>& change, uint32_t covered) {
    std::string bytes = encoded_chunk(kCount);
    change(bytes);
    repair_checksum(bytes, covered);
    return problem_of(bytes);
  };
  const auto set_end = [](size_t i, uint32_t end) {
    return [=](std::string& bytes) {
      store_le(bytes.data() + kChunkHeaderSize + i * kChunkEndSize, end);
    };
  };
  const auto set_count = [](uint32_t count) {
    return [=](std::string& bytes) { store_le(bytes.data() + 12, count); };
  };
  const std::string lies = "its directory does not describe its events";
  EXPECT_EQ(changed([](std::string&) {}, kCount), "");
  EXPECT_EQ(changed(set_end(1, 0), kCount), lies) << "an end that goes back";
  EXPECT_EQ(changed(set_end(0, static_cast<uint32_t>(directory_size(kCount))), kCount), lies)
      << "an event without bytes";
  EXPECT_EQ(changed(set_end(1, UINT32_MAX), kCount), lies) << "an end beyond the chunk";
  EXPECT_EQ(changed(set_end(2, UINT32_MAX), kCount), lies) << "the last end beyond the chunk";
  EXPECT_EQ(changed(set_count(2), 2), lies) << "an event too few";
  EXPECT_EQ(changed(set_count(0), 0), "it holds no event");
  EXPECT_EQ(changed(set_count(UINT32_MAX), kCount), "its directory is longer than it is");
  EXPECT_EQ(changed([](std::string& bytes) { bytes[8] = 1; }, kCount), "its version is not known");
}

TEST(Chunk, NumbersOutOfRangeAreRefused) {
  std::string bytes = encoded_chunk(3);
  for (const uint64_t first : {uint64_t{0}, kMaxNumber - 2, kMaxNumber}) {
    store_le(bytes.data(), checksum64(std::string_view(bytes).substr(8, directory_size(3) - 8),
                                      checksum_seed(kShard, event_key(first))));
    EXPECT_EQ(problem_of(bytes, kShard, first), "its numbers are out of range") << first;
  }
}

}  // namespace
}  // namespace weir::storage
