#include "storage/base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace weir {
namespace {

DedupeSecret secret(unsigned char fill) {
  DedupeSecret out;
  for (size_t i = 0; i < DedupeSecret::kSize; ++i)
    out.bytes[i] = static_cast<unsigned char>(i * 7 + fill);
  return out;
}

TEST(Fingerprint, TheBorderBetweenTenantAndKeyCounts) {
  EXPECT_NE(make_fingerprint(secret(1), "ab", "c"), make_fingerprint(secret(1), "a", "bc"));
}

TEST(Fingerprint, DependsOnTheSecret) {
  EXPECT_NE(make_fingerprint(secret(1), "t", "k"), make_fingerprint(secret(2), "t", "k"));
}

TEST(Fingerprint, IsTheSameForShortAndLongKeys) {
  const std::string key(5000, 'k');
  EXPECT_EQ(make_fingerprint(secret(1), "t", key), make_fingerprint(secret(1), "t", key));
  EXPECT_NE(make_fingerprint(secret(1), "t", key), make_fingerprint(secret(1), "t", key + "k"));
  EXPECT_FALSE(make_fingerprint(secret(1), "", "").empty());
}

TEST(Checksum, PiecesGiveTheSameAsTheWhole) {
  Checksum64 pieces(9);
  pieces.update("hello ");
  pieces.update("");
  pieces.update("world");
  EXPECT_EQ(pieces.digest(), checksum64("hello world", 9));
  EXPECT_NE(checksum64("hello world", 9), checksum64("hello world", 10));
}

}  // namespace
}  // namespace weir
