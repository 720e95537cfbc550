#include "bench/load/answer_parser.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::bench {
namespace {

struct Seen {
  int status;
  std::string body;
  bool close;
};

std::vector<Seen> feed_in_pieces(std::string_view bytes, size_t piece, bool* sound) {
  AnswerParser parser;
  std::vector<Seen> seen;
  *sound = true;
  while (!bytes.empty() && *sound) {
    *sound = parser.feed(bytes.substr(0, piece), [&](const Answer& answer) {
      seen.push_back({answer.status, std::string(answer.body), answer.close});
    });
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return seen;
}

constexpr std::string_view kStream =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"
    "HTTP/1.1 100 Continue\r\n\r\n"
    "HTTP/1.1 503 Unavailable\r\nconnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

TEST(AnswerParser, ReadsPipelinedAnswersHoweverTheyAreCut) {
  for (size_t piece = 1; piece <= kStream.size(); ++piece) {
    bool sound = false;
    const std::vector<Seen> seen = feed_in_pieces(kStream, piece, &sound);
    ASSERT_TRUE(sound);
    ASSERT_EQ(seen.size(), 4u) << piece;
    EXPECT_EQ(seen[0].body, "hello");
    EXPECT_EQ(seen[1].status, 204);
    EXPECT_EQ(seen[2].status, 100);
    EXPECT_EQ(seen[3].status, 503);
    EXPECT_EQ(seen[3].body, "abcde");
    EXPECT_TRUE(seen[3].close);
    EXPECT_FALSE(seen[0].close);
  }
}

TEST(AnswerParser, WhatIsNotHttpIsRefused) {
  bool sound = true;
  feed_in_pieces("SSH-2.0-OpenSSH_9.2\r\n\r\n", 100, &sound);
  EXPECT_FALSE(sound);
}

}  // namespace
}  // namespace weir::bench
