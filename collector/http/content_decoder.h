// Content-Encoding of request bodies: gzip and deflate (zlib or raw) and zstd, with limits on what
// they expand to. Two ways: decode_small() does an ordinary SDK batch in one call of libdeflate or
// zstd; begin()/step() works a large body off in slices, so that none holds the loop for long.
// Path: warm (per compressed request).  Thread: the loop's; one decoder per loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "collector/http/exchange.h"
#include "collector/http/head_parser.h"
#include "collector/http/refusal.h"
#include "collector/http/server.h"

namespace weir::http {

struct DecodeLimits {
  uint64_t max_bytes = 0;
  uint32_t max_ratio = 0;  // applies past kRatioFreeBytes of output
};

class ContentDecoder {
 public:
  static constexpr size_t kRatioFreeBytes = 64 << 10;
#ifdef WEIR_TINY_LIMITS
  static constexpr size_t kSmallEncoded = 4 << 10;
  static constexpr size_t kSmallDecoded = 8 << 10;
  static constexpr size_t kSliceBytes = 4 << 10;
#else
  static constexpr size_t kSmallEncoded = 64 << 10;
  static constexpr size_t kSmallDecoded = 256 << 10;
  static constexpr size_t kSliceBytes = 128 << 10;  // output of one step(): 0.4 ms of inflate
#endif

  enum class Small : uint8_t { kDone, kNotSmall, kRefused };
  enum class Step : uint8_t { kDone, kMore, kRefused };

  explicit ContentDecoder(BodyBudget& budget);
  ~ContentDecoder();

  // out: empty. kNotSmall leaves it empty: use begin(). kRefused: refused() says why.
  // Independent of a begin() in progress.
  Small decode_small(Coding coding, std::string_view encoded, const DecodeLimits& limits,
                     Body& out);
  const Refusal& small_refused() const { return *small_refused_; }

  // One body at a time. LIFETIME: encoded stays until the last step().
  void begin(Coding coding, std::string_view encoded, const DecodeLimits& limits);
  Step step(Body& out);
  const Refusal& refused() const { return *refused_; }

 private:
  struct Codecs;
  Step refuse(const Refusal& reason) {
    refused_ = &reason;
    return Step::kRefused;
  }
  Step step_zlib(Body& out, size_t target);
  Step step_zstd(Body& out, size_t target);
  bool make_room(Body& out);
  static const Refusal* exceeded(size_t decoded, size_t encoded, const DecodeLimits& limits);

  BodyBudget& budget_;
  std::unique_ptr<Codecs> codecs_;
  const Refusal* refused_ = nullptr;
  const Refusal* small_refused_ = nullptr;
  std::string_view encoded_;
  size_t consumed_ = 0;
  DecodeLimits limits_;
  Coding coding_ = Coding::kIdentity;
};

}  // namespace weir::http
