#include "collector/http/content_decoder.h"

#include <libdeflate.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

#include "storage/base/bytes.h"
#include "storage/base/check.h"

namespace weir::http {
namespace {

// RFC 1950 section 2.2: method 8 and a header checksum. Some clients send raw deflate instead.
bool has_zlib_header(std::string_view bytes) {
  if (bytes.size() < 2) return false;
  const auto cmf = static_cast<unsigned char>(bytes[0]);
  const auto flags = static_cast<unsigned char>(bytes[1]);
  return (cmf & 0x0f) == 8 && cmf >> 4 <= 7 && (cmf * 256 + flags) % 31 == 0;
}

// Where the format says how large the result is, believed only as an allocation hint.
size_t decoded_size_hint(Coding coding, std::string_view encoded) {
  if (coding == Coding::kGzip && encoded.size() >= 18)
    return load_le<uint32_t>(encoded.data() + encoded.size() - 4);
  if (coding == Coding::kZstd) {
    const unsigned long long size = ZSTD_getFrameContentSize(encoded.data(), encoded.size());
    if (size != ZSTD_CONTENTSIZE_UNKNOWN && size != ZSTD_CONTENTSIZE_ERROR)
      return static_cast<size_t>(size);
  }
  return std::max<size_t>(encoded.size() * 8, 4096);
}

}  // namespace

struct ContentDecoder::Codecs {
  libdeflate_decompressor* deflate = libdeflate_alloc_decompressor();
  ZSTD_DCtx* zstd = ZSTD_createDCtx();               // decode_small
  ZSTD_DStream* zstd_stream = ZSTD_createDStream();  // begin/step
  z_stream zlib{};
  bool zlib_ready = false;

  Codecs() = default;
  Codecs(const Codecs&) = delete;
  Codecs& operator=(const Codecs&) = delete;
  ~Codecs() {
    libdeflate_free_decompressor(deflate);
    ZSTD_freeDCtx(zstd);
    ZSTD_freeDStream(zstd_stream);
    if (zlib_ready) inflateEnd(&zlib);
  }
};

ContentDecoder::ContentDecoder(BodyBudget& budget)
    : budget_(budget), codecs_(std::make_unique<Codecs>()) {
  WEIR_CHECK(codecs_->deflate != nullptr && codecs_->zstd != nullptr &&
             codecs_->zstd_stream != nullptr);
  // RFC 8878 section 3.1.1.1.2 recommends to support windows of 8 MiB and no more.
  ZSTD_DCtx_setParameter(codecs_->zstd_stream, ZSTD_d_windowLogMax, 23);
}

ContentDecoder::~ContentDecoder() = default;

ContentDecoder::Small ContentDecoder::decode_small(Coding coding, std::string_view encoded,
                                                   const DecodeLimits& limits, Body& out) {
  // An exact hint that is too small for a multi-member file fails and goes the long way.
  const size_t room = decoded_size_hint(coding, encoded);
  if (encoded.size() > kSmallEncoded || room > std::min<uint64_t>(kSmallDecoded, limits.max_bytes))
    return Small::kNotSmall;
  if (!budget_.reserve(out, std::max<size_t>(room, 1))) {
    small_refused_ = &refusal::kBodyMemory;
    return Small::kRefused;
  }
  size_t decoded = 0;
  bool done = false;
  if (coding == Coding::kZstd) {
    decoded = ZSTD_decompressDCtx(codecs_->zstd, out.data(), room, encoded.data(), encoded.size());
    done = ZSTD_isError(decoded) == 0;
  } else {
    size_t used = 0;
    const bool gzip = coding == Coding::kGzip;
    const bool zlib = !gzip && has_zlib_header(encoded);
    const auto decode = gzip   ? &libdeflate_gzip_decompress_ex
                        : zlib ? &libdeflate_zlib_decompress_ex
                               : &libdeflate_deflate_decompress_ex;
    done = decode(codecs_->deflate, encoded.data(), encoded.size(), out.data(), room, &used,
                  &decoded) == LIBDEFLATE_SUCCESS &&
           used == encoded.size();
  }
  if (!done) {  // too small a guess, several members, or damaged: the other way finds out
    budget_.release(out);
    return Small::kNotSmall;
  }
  BodyBudget::set_size(out, decoded);
  small_refused_ = exceeded(decoded, encoded.size(), limits);
  if (small_refused_ == nullptr) return Small::kDone;
  budget_.release(out);
  return Small::kRefused;
}

void ContentDecoder::begin(Coding coding, std::string_view encoded, const DecodeLimits& limits) {
  coding_ = coding;
  encoded_ = encoded;
  limits_ = limits;
  consumed_ = 0;
  if (coding == Coding::kZstd) {
    ZSTD_DCtx_reset(codecs_->zstd_stream, ZSTD_reset_session_only);
    return;
  }
  constexpr int kMaxWindowBits = 15;
  const int format = coding == Coding::kGzip    ? kMaxWindowBits + 16
                     : has_zlib_header(encoded) ? kMaxWindowBits
                                                : -kMaxWindowBits;
  if (codecs_->zlib_ready) {
    WEIR_CHECK(inflateReset2(&codecs_->zlib, format) == Z_OK);
  } else {
    WEIR_CHECK(inflateInit2(&codecs_->zlib, format) == Z_OK);
    codecs_->zlib_ready = true;
  }
}

const Refusal* ContentDecoder::exceeded(size_t decoded, size_t encoded,
                                        const DecodeLimits& limits) {
  if (decoded > limits.max_bytes) return &refusal::kDecodedBytes;
  if (decoded > kRatioFreeBytes && decoded / limits.max_ratio > encoded)
    return &refusal::kExpansion;
  return nullptr;
}

// One byte more than the limit is enough to see that it is exceeded.
bool ContentDecoder::make_room(Body& out) {
  const size_t have = out.data() == nullptr ? 0 : BodyBudget::capacity(out);
  if (out.size() < have) return true;
  const size_t want = static_cast<size_t>(
      std::min<uint64_t>(limits_.max_bytes + 1,
                         std::max<uint64_t>({have * 2, encoded_.size() * 4, uint64_t{16} << 10})));
  const bool grown = out.data() == nullptr ? budget_.reserve(out, want) : budget_.grow(out, want);
  if (!grown) refuse(refusal::kBodyMemory);
  return grown;
}

ContentDecoder::Step ContentDecoder::step(Body& out) {
  const size_t target = out.size() + kSliceBytes;
  while (out.size() < target) {
    if (!make_room(out)) return Step::kRefused;
    const size_t before = out.size();
    const size_t consumed_before = consumed_;
    const Step result = coding_ == Coding::kZstd ? step_zstd(out, target) : step_zlib(out, target);
    if (result == Step::kRefused) return result;
    if (const Refusal* reason = exceeded(out.size(), encoded_.size(), limits_))
      return refuse(*reason);
    if (result == Step::kDone) return result;
    if (out.size() == before && consumed_ == consumed_before)
      return refuse(refusal::kEncodingCorrupt);  // nothing more comes of it: truncated
  }
  return Step::kMore;
}

ContentDecoder::Step ContentDecoder::step_zlib(Body& out, size_t target) {
  z_stream& zlib = codecs_->zlib;
  const size_t room = std::min(BodyBudget::capacity(out), target) - out.size();
  // zlib's interface is not const-correct; it does not write to its input.
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(encoded_.data() + consumed_));
  zlib.avail_in = static_cast<uInt>(encoded_.size() - consumed_);
  zlib.next_out = reinterpret_cast<Bytef*>(out.data() + out.size());
  zlib.avail_out = static_cast<uInt>(room);
  const int status = inflate(&zlib, Z_NO_FLUSH);
  consumed_ = encoded_.size() - zlib.avail_in;
  BodyBudget::set_size(out, out.size() + room - zlib.avail_out);
  if (status == Z_STREAM_END) {
    if (consumed_ == encoded_.size()) return Step::kDone;
    // RFC 1952 section 2.2: a gzip file is a series of members. Anything else behind is garbage.
    if (coding_ != Coding::kGzip) return refuse(refusal::kEncodingCorrupt);
    return inflateReset(&zlib) == Z_OK ? Step::kMore : refuse(refusal::kEncodingCorrupt);
  }
  if (status != Z_OK && status != Z_BUF_ERROR) return refuse(refusal::kEncodingCorrupt);
  return Step::kMore;
}

ContentDecoder::Step ContentDecoder::step_zstd(Body& out, size_t target) {
  ZSTD_inBuffer input{encoded_.data(), encoded_.size(), consumed_};
  ZSTD_outBuffer output{out.data(), std::min(BodyBudget::capacity(out), target), out.size()};
  const size_t status = ZSTD_decompressStream(codecs_->zstd_stream, &output, &input);
  consumed_ = input.pos;
  BodyBudget::set_size(out, output.pos);
  if (ZSTD_isError(status) != 0) return refuse(refusal::kEncodingCorrupt);
  // 0: a frame is complete and flushed; further frames may follow (RFC 8878 section 3).
  if (status == 0 && consumed_ == encoded_.size()) return Step::kDone;
  return Step::kMore;
}

}  // namespace weir::http
