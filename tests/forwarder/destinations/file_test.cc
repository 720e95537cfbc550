#include "forwarder/destinations/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace weir::forwarder {
namespace {

namespace fs = std::filesystem;

class FileSinkTest : public ::testing::Test {
 protected:
  FileSinkTest() {
    char name[] = "/tmp/weir-file-XXXXXX";
    directory = mkdtemp(name);
    options.name = "f";
    options.type = "file";
    options.path = directory + "/events.ndjson";
  }
  ~FileSinkTest() override { fs::remove_all(directory); }

  Outcome deliver(std::string_view body) {
    if (!sink) sink = make_file_sink(options, clock);
    return sink->deliver("b", body, 1, cancel);
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  std::multiset<std::string> contents() const {
    std::multiset<std::string> all;
    for (const auto& entry : fs::directory_iterator(directory)) all.insert(read(entry.path()));
    return all;
  }

  std::string directory;
  DestinationOptions options;
  ManualClock clock;
  Cancel cancel;
  std::unique_ptr<BlockingSink> sink;
};

TEST_F(FileSinkTest, AppendsBatchAfterBatchAlsoAfterARestart) {
  EXPECT_EQ(deliver("one\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(deliver("two\n").kind, OutcomeKind::kDelivered);
  sink.reset();
  EXPECT_EQ(deliver("three\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(read(options.path), "one\ntwo\nthree\n");
}

TEST_F(FileSinkTest, WhatACrashLeftOfALineIsCutOff) {
  const std::string torn(10'000, 'x');
  std::ofstream(options.path) << "one\n" << torn;
  EXPECT_EQ(deliver("two\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(read(options.path), "one\ntwo\n");
  sink.reset();
  std::ofstream(options.path, std::ios::trunc) << "no line at all";
  EXPECT_EQ(deliver("three\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(read(options.path), "three\n");
}

TEST_F(FileSinkTest, IsSetAsideBySize) {
  options.rotate.bytes = 8;
  options.rotate.age_ms = 0;
  for (const char* line : {"aaaa\n", "bbbb\n", "cccc\n"})
    EXPECT_EQ(deliver(line).kind, OutcomeKind::kDelivered);
  EXPECT_EQ(contents(), (std::multiset<std::string>{"aaaa\nbbbb\n", "cccc\n"}));
  EXPECT_TRUE(fs::exists(directory + "/events-20231114T221320.000Z.ndjson"));
}

TEST_F(FileSinkTest, TwoFilesSetAsideInOneInstantGetDifferentNames) {
  options.rotate.bytes = 1;
  for (const char* line : {"a\n", "b\n", "c\n", "d\n"})
    EXPECT_EQ(deliver(line).kind, OutcomeKind::kDelivered);
  EXPECT_EQ(contents(), (std::multiset<std::string>{"a\n", "b\n", "c\n", "d\n"}));
}

TEST_F(FileSinkTest, IsSetAsideByAge) {
  clock.set_wall_ms(Clock::system().wall_ms());
  options.rotate.age_ms = 60'000;
  EXPECT_EQ(deliver("a\n").kind, OutcomeKind::kDelivered);
  clock.advance_ms(30'000);
  EXPECT_EQ(deliver("b\n").kind, OutcomeKind::kDelivered);
  clock.advance_ms(40'000);
  EXPECT_EQ(deliver("c\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(contents(), (std::multiset<std::string>{"a\nb\n", "c\n"}));
}

TEST_F(FileSinkTest, ANewFileIsBegunWhenSomebodyElseMovedIt) {
  EXPECT_EQ(deliver("a\n").kind, OutcomeKind::kDelivered);
  fs::rename(options.path, directory + "/moved");
  EXPECT_EQ(deliver("b\n").kind, OutcomeKind::kDelivered);
  EXPECT_EQ(read(options.path), "b\n");
  EXPECT_EQ(read(directory + "/moved"), "a\n");
}

TEST_F(FileSinkTest, AMissingDirectoryIsRetriedAndSaysWhatToDo) {
  options.path = directory + "/missing/events.ndjson";
  const Outcome outcome = deliver("a\n");
  EXPECT_EQ(outcome.kind, OutcomeKind::kRetry);
  EXPECT_EQ(outcome.reason, "io_error");
  EXPECT_NE(outcome.detail.find("create the directory"), std::string::npos) << outcome.detail;
  fs::create_directory(directory + "/missing");
  EXPECT_EQ(deliver("a\n").kind, OutcomeKind::kDelivered);
}

TEST_F(FileSinkTest, ADirectoryInItsPlaceIsAnErrorNotACrash) {
  fs::create_directory(options.path);
  EXPECT_EQ(deliver("a\n").kind, OutcomeKind::kRetry);
}

TEST_F(FileSinkTest, AStreamTakesWholeBatchesAndStopsWhenNobodyReads) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  options.request_timeout_ms = 100;
  const auto stream = make_stream_sink(ends[1], options, Clock::system());
  EXPECT_EQ(stream->deliver("b", "one\n", 1, cancel).kind, OutcomeKind::kDelivered);
  char got[16];
  EXPECT_EQ(::read(ends[0], got, sizeof got), 4);
  const std::string large = std::string(1 << 20, 'x') + "\n";
  const Outcome outcome = stream->deliver("b", large, 1, cancel);
  EXPECT_EQ(outcome.kind, OutcomeKind::kRetry);
  EXPECT_EQ(outcome.reason, "io_error");
  close(ends[0]);
  close(ends[1]);
}

TEST_F(FileSinkTest, AStreamEndsALineThatBrokeOffBeforeItGoesOn) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  options.request_timeout_ms = 50;
  const auto stream = make_stream_sink(ends[1], options, Clock::system());
  const std::string large = std::string(1 << 20, 'x') + "\n";
  EXPECT_EQ(stream->deliver("b", large, 1, cancel).kind, OutcomeKind::kRetry);
  std::string drained(1 << 20, '\0');
  ASSERT_GT(::read(ends[0], drained.data(), drained.size()), 0);
  EXPECT_EQ(stream->deliver("b", "two\n", 1, cancel).kind, OutcomeKind::kDelivered);
  char got[16] = {};
  EXPECT_EQ(::read(ends[0], got, sizeof got), 5);
  EXPECT_EQ(std::string_view(got), "\ntwo\n");
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace weir::forwarder
