// The next segment: made ahead, filled with zeros ahead, given up when nobody needs it.
#include "storage/successor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "storage/file_names.h"
#include "tests/storage/store_fixture.h"

namespace weir::storage {
namespace {

constexpr uint64_t kSegmentBytes = uint64_t{4} << 20;

class SuccessorTest : public ::testing::Test {
 protected:
  // Whether this file system takes direct writes: without them nothing is filled.
  bool can_fill() {
    const std::string path = directory_.path() + "/probe";
    fclose(fopen(path.c_str(), "w"));
    return ZeroFill::start(path, ZeroFill::kPieceBytes).has_value();
  }
  void fill_up(Successor& successor) {
    while (successor.fill()) {
    }
  }
  static uint64_t blocks(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return static_cast<uint64_t>(info.st_blocks) * 512;
  }

  TestDirectory directory_;
};

TEST_F(SuccessorTest, AFilledOneHasItsWholeSizeOnDiskAndTakesCommits) {
  if (!can_fill()) GTEST_SKIP() << "no direct writes on this file system";
  Successor successor(directory_.path(), 0, kSegmentBytes);
  ASSERT_TRUE(successor.prepare().has_value());
  EXPECT_FALSE(successor.filled());
  fill_up(successor);
  EXPECT_TRUE(successor.filled());
  EXPECT_EQ(file_bytes(successor.path()), kSegmentBytes);
  EXPECT_GE(blocks(successor.path()), kSegmentBytes);

  auto writer = successor.take();
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  EXPECT_TRUE((*writer)->filled());
  ASSERT_EQ((*writer)->begin(), 0);
  ASSERT_EQ((*writer)->append(kHeaderKey, "header"), 0);
  ASSERT_EQ((*writer)->commit(), 0);
  EXPECT_EQ(file_bytes(successor.path()), kSegmentBytes) << "a commit does not move the file's end";
}

TEST_F(SuccessorTest, IsFilledNoFurtherThanIsDue) {
  if (!can_fill()) GTEST_SKIP() << "no direct writes on this file system";
  Successor successor(directory_.path(), 0, kSegmentBytes);
  successor.want(2 * ZeroFill::kLeastBytes);
  ASSERT_TRUE(successor.prepare().has_value());
  fill_up(successor);
  EXPECT_FALSE(successor.filled());
  EXPECT_FALSE(successor.fill());
  EXPECT_FALSE(successor.set_due(2 * ZeroFill::kLeastBytes + 1)) << "less than a piece more";
  EXPECT_TRUE(successor.set_due(3 * ZeroFill::kLeastBytes));
  fill_up(successor);
  EXPECT_FALSE(successor.filled());
  EXPECT_TRUE(successor.set_due(kSegmentBytes + ZeroFill::kPieceBytes));
  fill_up(successor);
  EXPECT_TRUE(successor.filled());
  EXPECT_FALSE(successor.set_due(UINT64_MAX - ZeroFill::kPieceBytes)) << "nothing is left to do";
}

TEST_F(SuccessorTest, OneThatIsTakenHalfFilledIsUsable) {
  if (!can_fill()) GTEST_SKIP() << "no direct writes on this file system";
  Successor successor(directory_.path(), 0, kSegmentBytes);
  ASSERT_TRUE(successor.prepare().has_value());
  ASSERT_TRUE(successor.fill());
  ASSERT_TRUE(successor.fill());
  auto writer = successor.take();
  ASSERT_TRUE(writer.has_value());
  EXPECT_FALSE((*writer)->filled());
  EXPECT_FALSE(successor.fill()) << "there is nothing left to fill";
  ASSERT_EQ((*writer)->begin(), 0);
  ASSERT_EQ((*writer)->append(kHeaderKey, "header"), 0);
  EXPECT_EQ((*writer)->commit(), 0);
}

TEST_F(SuccessorTest, OneThatNobodyTookIsDeleted) {
  {
    Successor successor(directory_.path(), 0, kSegmentBytes);
    ASSERT_TRUE(successor.prepare().has_value());
    EXPECT_TRUE(file_exists(successor.path()));
  }
  EXPECT_TRUE(directory_.names(".weir").empty());
  EXPECT_TRUE(directory_.names("-lock").empty());
}

TEST_F(SuccessorTest, AFileThatCannotBeReservedKeepsItsSize) {
  if (!can_fill()) GTEST_SKIP() << "no direct writes on this file system";
  const std::string path = directory_.path() + "/file";
  fclose(fopen(path.c_str(), "w"));
  // Larger than any file system: refused, whatever its kind.
  EXPECT_FALSE(ZeroFill::start(path, uint64_t{1} << 62).has_value());
  EXPECT_EQ(file_bytes(path), 0U);
}

TEST_F(SuccessorTest, WhatLiesBehindTheUsedBytesIsGivenBack) {
  const std::string path = directory_.path() + "/file";
  fclose(fopen(path.c_str(), "w"));
  ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
  give_back_tail(path, 8192);
  EXPECT_EQ(file_bytes(path), 8192U);
  give_back_tail(path, 1 << 20);
  EXPECT_EQ(file_bytes(path), 8192U) << "it never grows";
}

}  // namespace
}  // namespace weir::storage
