// The bytes of the log: every record decodes to what was encoded, and nothing else decodes.
#include "storage/record_format.h"

#include <gtest/gtest.h>

#include "storage/base/event_record.h"
#include "storage/chunk.h"

namespace weir::storage {
namespace {

std::string encoded_event(unsigned shard, uint64_t number, std::string_view head,
                          std::string_view raw) {
  std::string bytes(kEventHeaderSize + head.size() + raw.size(), '\0');
  encode_event(bytes.data(), shard, number, 1234, {7, 8}, head, raw);
  return bytes;
}

struct Block {
  std::string fingerprints;
  CommitBlock block;
  std::string bytes;
};

Block encoded_block(unsigned shard, uint64_t first, uint32_t count) {
  Block made;
  for (uint32_t i = 0; i < count; ++i) {
    append_le(made.fingerprints, uint64_t{i});
    append_le(made.fingerprints, uint64_t{i} << 32);
  }
  made.block.first = first;
  made.block.count = count;
  made.block.committed_ms = 99;
  made.block.oldest_ms = 90;
  made.block.newest_ms = 98;
  made.block.payload_bytes = 4711;
  made.block.fingerprints = made.fingerprints;
  const TenantEvents tenants[] = {{"a", count - 1}, {"", 1}};
  encode_commit(made.bytes, shard, made.block, tenants);
  return made;
}

TEST(RecordFormat, AnEventDecodesToWhatWasEncoded) {
  const std::string bytes = encoded_event(2, 77, "head", "raw");
  EventRecord record;
  ASSERT_TRUE(decode_event(bytes, 2, 77, &record));
  EXPECT_EQ(record.received_ms, 1234);
  EXPECT_EQ(record.fingerprint, (Fingerprint{7, 8}));
  EXPECT_EQ(record.payload, "headraw");
}

TEST(RecordFormat, AnEventInTheWrongPlaceFails) {
  const std::string bytes = encoded_event(2, 77, "head", "raw");
  EventRecord record;
  EXPECT_FALSE(decode_event(bytes, 2, 78, &record));
  EXPECT_FALSE(decode_event(bytes, 3, 77, &record));
}

TEST(RecordFormat, EverySingleFlippedBitOfAnEventFails) {
  std::string bytes = encoded_event(0, 5, "h", "{\"a\":1}");
  EventRecord record;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_event(bytes, 0, 5, &record)) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_event(std::string_view(bytes).substr(0, size), 0, 5, &record)) << size;
}

TEST(RecordFormat, ACommitBlockDecodesToWhatWasEncoded) {
  const Block made = encoded_block(1, 10, 3);
  CommitBlock block;
  ASSERT_TRUE(decode_commit(made.bytes, 1, 12, &block));
  EXPECT_EQ(block.first, 10u);
  EXPECT_EQ(block.last(), 12u);
  EXPECT_EQ(block.committed_ms, 99);
  EXPECT_EQ(block.oldest_ms, 90);
  EXPECT_EQ(block.newest_ms, 98);
  EXPECT_EQ(block.payload_bytes, 4711u);
  EXPECT_EQ(block.fingerprint(2), (Fingerprint{2, uint64_t{2} << 32}));
  std::vector<std::string> tenants;
  EXPECT_TRUE(block.for_each_tenant([&](const TenantEvents& tenant) {
    tenants.push_back(std::string(tenant.tenant) + "=" + std::to_string(tenant.events));
  }));
  EXPECT_EQ(tenants, (std::vector<std::string>{"a=2", "=1"}));
  EXPECT_FALSE(decode_commit(made.bytes, 1, 13, &block));
  EXPECT_FALSE(decode_commit(made.bytes, 0, 12, &block));
}

TEST(RecordFormat, EverySingleFlippedBitOfACommitBlockFails) {
  Block made = encoded_block(0, 1, 2);
  CommitBlock block;
  for (size_t bit = 0; bit < made.bytes.size() * 8; ++bit) {
    made.bytes[bit / 8] = static_cast<char>(made.bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_commit(made.bytes, 0, 2, &block)) << bit;
    made.bytes[bit / 8] = static_cast<char>(made.bytes[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(RecordFormat, AHeaderOfAnotherVersionIsKnownAsSuchAndNotDecoded) {
  SegmentHeader header;
  header.shard = 1;
  std::string bytes;
  encode_header(bytes, header);
  EXPECT_EQ(header_version(bytes), kFormatVersion);
  bytes[8] = 9;
  EXPECT_EQ(header_version(bytes), 0u) << "its checksum fails";
  bytes += "and a field of its own";
  store_le(bytes.data(),
           checksum64(std::string_view(bytes).substr(8), checksum_seed(1, kHeaderKey)));
  EXPECT_EQ(header_version(bytes), 9u);
  EXPECT_FALSE(decode_header(bytes, &header));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(header_version(std::string_view(bytes).substr(0, size)), 0u) << size;
}

TEST(RecordFormat, ASegmentHeaderCarriesTheIdentity) {
  SegmentHeader header;
  header.shard = 3;
  header.first = 17;
  header.created_ms = 5;
  header.store_id = StoreId::generate();
  fill_random(header.secret.bytes, sizeof header.secret.bytes);
  std::string bytes;
  encode_header(bytes, header);
  ASSERT_EQ(bytes.size(), kSegmentHeaderSize);
  SegmentHeader read;
  ASSERT_TRUE(decode_header(bytes, &read));
  EXPECT_EQ(read.shard, 3u);
  EXPECT_EQ(read.first, 17u);
  EXPECT_EQ(read.store_id, header.store_id);
  EXPECT_EQ(std::memcmp(read.secret.bytes, header.secret.bytes, DedupeSecret::kSize), 0);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_header(bytes, &read)) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out;
}

// docs/storage-format.md, "A worked example". When this fails, files of older builds are no longer
// read: that needs a new version, not a new expectation.
TEST(RecordFormat, TheWorkedExampleOfTheDocumentationIsTrue) {
  SegmentHeader header;
  header.first = 1;
  header.created_ms = 1'700'000'000'000;
  header.store_id = *StoreId::parse("01234567-89ab-4cde-8f01-23456789abcd");
  for (size_t i = 0; i < DedupeSecret::kSize; ++i)
    header.secret.bytes[i] = static_cast<unsigned char>(i);
  std::string bytes;
  encode_header(bytes, header);
  EXPECT_EQ(hex(std::string_view(bytes).substr(0, 50)),
            "584f78a65deda369020000000000000001000000000000000068e5cf8b010000"
            "0123456789ab4cde8f0123456789abcd0001");

  const Fingerprint fingerprint = make_fingerprint(header.secret, "t", "k1");
  EventFields fields;
  fields.tenant = "t";
  std::string head;
  append_event_head(head, fields);
  const std::string_view raw = "{\"a\":1}";
  ChunkPlan plan;
  plan.begin(raw.size());
  plan.add(kEventHeaderSize + head.size() + raw.size());
  std::string chunk(plan.chunks()[0].bytes, '\0');
  ChunkEncoder encoder(chunk.data(), 0, 1, plan.chunks()[0]);
  encoder.add(1'700'000'000'123, fingerprint, head, raw);
  encoder.finish();
  EXPECT_EQ(hex(chunk),
            "2eaba99e732af7a5020000000100000043000000"
            "785cd6eb1666514c7b68e5cf8b0100009cb6bff79f9a0c8c0335101e20cb26b6"
            "02040000040174007b2261223a317d");

  std::string fingerprints;
  append_le(fingerprints, fingerprint.low);
  append_le(fingerprints, fingerprint.high);
  CommitBlock block;
  block.first = 1;
  block.count = 1;
  block.committed_ms = 1'700'000'000'125;
  block.oldest_ms = block.newest_ms = 1'700'000'000'123;
  block.payload_bytes = head.size() + raw.size();
  block.fingerprints = fingerprints;
  const TenantEvents tenants[] = {{"t", 1}};
  encode_commit(bytes, 0, block, tenants);
  EXPECT_EQ(hex(bytes),
            "1718a486213bae43020001000100000001000000000000007d68e5cf8b010000"
            "7b68e5cf8b0100007b68e5cf8b0100000b00000000000000"
            "9cb6bff79f9a0c8c0335101e20cb26b6010174");
}

}  // namespace
}  // namespace weir::storage
