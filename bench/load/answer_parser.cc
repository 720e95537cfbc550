#include "bench/load/answer_parser.h"

#include <strings.h>

#include <charconv>

namespace weir::bench {
namespace {

bool starts_with_word(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         strncasecmp(text.data(), lower_case.data(), lower_case.size()) == 0;
}

}  // namespace

size_t AnswerParser::parse(std::string_view text, Answer* answer) {
  const size_t head_end = text.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return text.size() > (64 << 10) ? kBroken : 0;
  if (text.substr(0, 7) != "HTTP/1.") return kBroken;
  const auto status = std::from_chars(text.data() + 9, text.data() + 12, answer->status);
  if (status.ec != std::errc()) return kBroken;
  uint64_t length = 0;
  bool chunked = false;
  for (size_t line = text.find("\r\n") + 2; line < head_end;) {
    const size_t line_end = text.find("\r\n", line);
    const std::string_view header = text.substr(line, line_end - line);
    if (starts_with_word(header, "content-length:")) {
      size_t digit = 15;
      while (digit < header.size() && header[digit] == ' ') ++digit;
      std::from_chars(header.data() + digit, header.data() + header.size(), length);
    } else if (starts_with_word(header, "transfer-encoding: chunked")) {
      chunked = true;
    } else if (starts_with_word(header, "connection: close")) {
      answer->close = true;
    }
    line = line_end + 2;
  }
  if (answer->status == 100) return head_end + 4;  // interim; the caller ignores it
  if (chunked) return parse_chunked(text, head_end + 4, answer);
  if (answer->status == 204 || answer->status == 304) length = 0;
  if (text.size() < head_end + 4 + length) return length > kMaxAnswer ? kBroken : 0;
  answer->body = text.substr(head_end + 4, length);
  return head_end + 4 + length;
}

size_t AnswerParser::parse_chunked(std::string_view text, size_t at, Answer* answer) {
  chunked_body_.clear();
  for (;;) {
    const size_t line_end = text.find("\r\n", at);
    if (line_end == std::string_view::npos) return 0;
    size_t size = 0;
    const auto parsed = std::from_chars(text.data() + at, text.data() + line_end, size, 16);
    if (parsed.ec != std::errc() || size > kMaxAnswer) return kBroken;
    at = line_end + 2;
    if (text.size() < at + size + 2) return 0;
    if (size == 0) {
      answer->body = chunked_body_;
      return at + 2;
    }
    chunked_body_.append(text.substr(at, size));
    at += size + 2;
  }
}

}  // namespace weir::bench
