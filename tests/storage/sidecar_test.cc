// Sidecars: what is written is read back, and no damage goes unnoticed.
#include "storage/sidecar.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

struct Made {
  std::string path;
  SegmentSummary summary;
  std::map<Fingerprint, std::pair<uint64_t, int64_t>> known;
};

Made make(const TestDirectory& directory) {
  Made made;
  made.path = directory.path() + "/seg-0-0000000000000064.fp";
  made.summary.first = 100;
  made.summary.created_ms = 1'000'000;
  made.summary.has_identity = true;
  made.summary.store_id = StoreId::generate();
  std::vector<std::pair<std::string, CommitBlock>> blocks;
  uint64_t number = 100;
  for (uint32_t size : {5U, 1U, 300U}) {
    std::string fingerprints;
    for (uint32_t i = 0; i < size; ++i) {
      // Every third event has none.
      const Fingerprint fingerprint =
          i % 3 == 2 ? Fingerprint{} : Fingerprint{hash64(std::to_string(number + i)), number + i};
      append_le(fingerprints, fingerprint.low);
      append_le(fingerprints, fingerprint.high);
      if (!fingerprint.empty())
        made.known[fingerprint] = {number + i, 1'000'000 + static_cast<int64_t>(number) * 1000};
    }
    CommitBlock block;
    block.first = number;
    block.count = size;
    block.committed_ms = 1'000'000 + static_cast<int64_t>(number) * 1000;
    number += size;
    blocks.emplace_back(std::move(fingerprints), block);
  }
  const std::string tenants = "\x01\x01t";
  for (auto& [bytes, block] : blocks) {
    block.fingerprints = bytes;
    made.summary.add(block);
  }
  made.summary.tenants["t"] = 306;
  SidecarBuilder builder(made.summary);
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) builder.add(block->second);
  EXPECT_TRUE(builder.write(made.path).has_value());
  return made;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

void spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(Sidecar, IsReadBackInFullAndInPart) {
  TestDirectory directory;
  const Made made = make(directory);
  std::map<Fingerprint, std::pair<uint64_t, int64_t>> read;
  const auto summary = read_sidecar(made.path, [&](const KnownFingerprint& known) {
    read[known.fingerprint] = {known.number, known.committed_ms};
  });
  ASSERT_TRUE(summary.has_value()) << summary.error().message;
  EXPECT_EQ(read, made.known);
  EXPECT_EQ(summary->first, 100u);
  EXPECT_EQ(summary->last, 405u);
  EXPECT_EQ(summary->events, 306u);
  EXPECT_EQ(summary->fingerprints, made.known.size());
  EXPECT_EQ(summary->tenants.at("t"), 306u);
  EXPECT_EQ(summary->store_id, made.summary.store_id);
  EXPECT_EQ(read_sidecar_summary(made.path)->events, 306u);
}

TEST(Sidecar, FindsTheNumberOfEachFingerprintAndNoOther) {
  TestDirectory directory;
  const Made made = make(directory);
  for (const auto& [fingerprint, where] : made.known) {
    const auto found = find_in_sidecar(made.path, fingerprint);
    ASSERT_TRUE(found.has_value() && found->has_value());
    EXPECT_EQ(**found, where.first);
    EXPECT_FALSE(find_in_sidecar(made.path, {fingerprint.low + 1, fingerprint.high})->has_value());
  }
}

TEST(Sidecar, AReaderGivesEachEntryOnceInTheOrderOfFingerprints) {
  const TestDirectory directory;
  const Made made = make(directory);
  auto reader = SidecarReader::open(made.path);
  ASSERT_TRUE(reader.has_value());
  EXPECT_EQ((*reader)->entries(), made.known.size());
  EXPECT_EQ((*reader)->summary().first, 100u);
  Fingerprint before;
  KnownFingerprint known;
  size_t entries = 0;
  for (; (*reader)->peek(&known); (*reader)->skip(), ++entries) {
    KnownFingerprint again;
    ASSERT_TRUE((*reader)->peek(&again));
    EXPECT_EQ(again.number, known.number) << "peeking moves nothing";
    EXPECT_EQ(made.known.at(known.fingerprint), std::pair(known.number, known.committed_ms));
    EXPECT_TRUE(entries == 0 || before.high < known.fingerprint.high ||
                (before.high == known.fingerprint.high && before.low < known.fingerprint.low));
    before = known.fingerprint;
  }
  EXPECT_EQ(entries, made.known.size());
  EXPECT_FALSE((*reader)->peek(&known));
}

TEST(Sidecar, AnyFlippedBitOrMissingByteIsNoticed) {
  TestDirectory directory;
  const Made made = make(directory);
  const std::string sound = slurp(made.path);
  for (size_t at = 0; at < sound.size(); at += 1 + at / 64) {
    std::string broken = sound;
    broken[at] = static_cast<char>(broken[at] ^ (1 << at % 8));
    spill(made.path, broken);
    const auto read = read_sidecar(made.path, [](const KnownFingerprint&) {});
    ASSERT_FALSE(read.has_value()) << "byte " << at;
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
  }
  for (size_t size : {size_t{0}, size_t{7}, size_t{39}, size_t{100}, sound.size() - 1}) {
    spill(made.path, sound.substr(0, size));
    EXPECT_FALSE(read_sidecar(made.path, [](const KnownFingerprint&) {}).has_value()) << size;
    EXPECT_FALSE(find_in_sidecar(made.path, {1, 2}).has_value()) << size;
  }
}

}  // namespace
}  // namespace weir::storage
