#include "storage/base/bytes.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(Varint, RoundTripsAtEveryLengthBoundary) {
  for (unsigned bits = 0; bits <= 64; ++bits) {
    const uint64_t value = bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
    std::string bytes;
    append_varint(bytes, value);
    EXPECT_EQ(bytes.size(), varint_size(value));
    ByteReader reader(bytes);
    EXPECT_EQ(reader.varint(), value);
    EXPECT_TRUE(reader.ok());
    EXPECT_TRUE(reader.at_end());
  }
}

TEST(Varint, LongerThanTenBytesOrOverflowingIsRefused) {
  ByteReader endless(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11));
  endless.varint();
  EXPECT_FALSE(endless.ok());
  ByteReader overflowing(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
  overflowing.varint();
  EXPECT_FALSE(overflowing.ok());
}

TEST(ByteReader, StaysFailedAfterTheFirstReadPastTheEnd) {
  ByteReader reader("abc");
  EXPECT_EQ(reader.le<uint32_t>(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.bytes(1), "");
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, RefusesALengthBeyondTheEnd) {
  std::string bytes;
  append_varint(bytes, UINT64_MAX);
  bytes += "x";
  ByteReader reader(bytes);
  EXPECT_EQ(reader.sized_bytes(), "");
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace weir
