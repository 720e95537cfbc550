// Reads HTTP/1.1 answers off a byte stream, as much of the protocol as servers under load send:
// status line, Content-Length or chunked, 204/304 without a body, Connection: close.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::bench {

struct Answer {
  int status = 0;
  bool close = false;
  std::string_view body;  // LIFETIME: during the callback
};

class AnswerParser {
 public:
  // Feeds bytes; calls on_answer(const Answer&) for each complete answer; false when the bytes are
  // not HTTP (the connection must be dropped).
  template <class OnAnswer>
  bool feed(std::string_view bytes, OnAnswer&& on_answer) {
    std::string_view rest = bytes;
    if (!buffered_.empty()) {
      buffered_.append(bytes);
      rest = buffered_;
    }
    while (!rest.empty()) {
      Answer answer;
      const size_t used = parse(rest, &answer);
      if (used == kBroken) return false;
      if (used == 0) break;
      on_answer(answer);
      rest.remove_prefix(used);
    }
    if (rest.empty())
      buffered_.clear();
    else if (rest.data() == buffered_.data() + (buffered_.size() - rest.size()) &&
             !buffered_.empty())
      buffered_.erase(0, buffered_.size() - rest.size());
    else
      buffered_.assign(rest);
    return buffered_.size() <= kMaxAnswer;
  }
  void reset() { buffered_.clear(); }

 private:
  static constexpr size_t kBroken = SIZE_MAX;
  static constexpr size_t kMaxAnswer = 16 << 20;
  // Bytes of one complete answer at the start of text, 0 when more are needed.
  size_t parse(std::string_view text, Answer* answer);
  size_t parse_chunked(std::string_view text, size_t at, Answer* answer);

  std::string buffered_;
  std::string chunked_body_;
};

}  // namespace weir::bench
