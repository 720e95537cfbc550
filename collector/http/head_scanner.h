// Finds the end of a request head in the raw bytes and refuses what parsers tolerate differently:
// bare line feeds, bare carriage returns, NUL and other control characters, obsolete line folding.
// After this pass every line of the head ends with CR LF and contains no control character but tab.
// Path: hot (every byte of a head).  Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "collector/http/refusal.h"

namespace weir::http {

class HeadScanner {
 public:
  enum class State : uint8_t { kIncomplete, kComplete, kRefused };

  // Continues with the bytes behind those of the last call. kComplete: used says how many of them
  // belong to the head, the empty line included. kRefused: refused() says why.
  State scan(std::string_view bytes, size_t& used);
  const Refusal& refused() const { return *refused_; }

  // The one empty line before a request line that RFC 9112 section 2.2 asks servers to ignore.
  size_t leading_bytes() const { return leading_; }
  // Lines seen with their end, the request line included, the final empty line not.
  size_t lines() const { return lines_; }
  // Without CR LF; while lines() is 0: as much as has arrived.
  size_t request_line_bytes() const { return lines_ == 0 ? line_bytes_ : request_line_bytes_; }

 private:
  State refuse(const Refusal& reason) {
    refused_ = &reason;
    return State::kRefused;
  }

  const Refusal* refused_ = nullptr;
  size_t leading_ = 0;
  size_t lines_ = 0;
  size_t line_bytes_ = 0;  // of the current line
  size_t request_line_bytes_ = 0;
  bool after_cr_ = false;
};

// True for the characters of a token (RFC 9110 section 5.6.2).
bool is_token_char(char c);
bool is_token(std::string_view text);

}  // namespace weir::http
