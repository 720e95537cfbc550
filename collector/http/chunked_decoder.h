// The chunked transfer coding (RFC 9112 section 7.1), strictly: sizes are hexadecimal digits, lines
// end with CR LF, extensions begin with ';', trailers are well formed and dropped. Our own rather
// than llhttp's, whose versions differ in what they tolerate here (bare LF in extensions is how
// requests were smuggled past other servers); the fuzzer compares the two.
// Path: hot for clients that stream.  Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "collector/http/refusal.h"

namespace weir::http {

class ChunkedDecoder {
 public:
  enum class Step : uint8_t { kData, kNeedMore, kDone, kRefused };

  static constexpr size_t kMaxSizeDigits = 16;
  static constexpr size_t kMaxExtensionBytes = 4096;  // all chunks of one body together

  explicit ChunkedDecoder(size_t max_trailer_bytes = 8192, size_t max_trailers = 100)
      : max_trailer_bytes_(max_trailer_bytes), max_trailers_(max_trailers) {}

  // Consumes from the front of bytes. kData: data is the next piece of the body; call again.
  // kNeedMore: bytes is empty. kDone: what remains in bytes belongs to the next request.
  Step next(std::string_view& bytes, std::string_view& data);
  const Refusal& refused() const { return *refused_; }
  // Of the chunk being read: what is known to follow, so that one allocation serves it.
  uint64_t chunk_bytes_left() const { return left_; }

 private:
  enum class At : uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerLf,
    kDone
  };
  Step refuse(const Refusal& reason) {
    refused_ = &reason;
    return Step::kRefused;
  }
  bool size_char(char c);
  bool extension_char(char c);
  bool trailer_char(char c);

  const Refusal* refused_ = nullptr;
  uint64_t left_ = 0;
  size_t max_trailer_bytes_;
  size_t max_trailers_;
  size_t extension_bytes_ = 0;
  size_t trailer_bytes_ = 0;
  size_t trailers_ = 0;
  size_t trailer_line_bytes_ = 0;
  uint8_t digits_ = 0;
  bool blank_before_semicolon_ = false;
  bool trailer_colon_ = false;
  At at_ = At::kSize;
};

}  // namespace weir::http
