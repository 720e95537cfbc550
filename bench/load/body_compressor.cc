#include "bench/load/body_compressor.h"

#include <libdeflate.h>
#include <zstd.h>

#include "storage/base/check.h"

namespace weir::bench {

struct BodyCompressor::Contexts {
  libdeflate_compressor* deflate = nullptr;
  ZSTD_CCtx* zstd = nullptr;
};

BodyCompressor::BodyCompressor(BodyCoding coding)
    : coding_(coding), contexts_(std::make_unique<Contexts>()) {
  if (coding == BodyCoding::kGzip) contexts_->deflate = libdeflate_alloc_compressor(1);
  if (coding == BodyCoding::kZstd) contexts_->zstd = ZSTD_createCCtx();
  WEIR_CHECK(coding != BodyCoding::kGzip || contexts_->deflate != nullptr);
  WEIR_CHECK(coding != BodyCoding::kZstd || contexts_->zstd != nullptr);
}

BodyCompressor::~BodyCompressor() {
  libdeflate_free_compressor(contexts_->deflate);
  ZSTD_freeCCtx(contexts_->zstd);
}

std::string_view BodyCompressor::name() const {
  switch (coding_) {
    case BodyCoding::kGzip:
      return "gzip";
    case BodyCoding::kZstd:
      return "zstd";
    case BodyCoding::kNone:
      break;
  }
  return {};
}

std::string_view BodyCompressor::compress(std::string_view plain) {
  size_t size = 0;
  if (coding_ == BodyCoding::kGzip) {
    out_.resize(libdeflate_gzip_compress_bound(contexts_->deflate, plain.size()));
    size = libdeflate_gzip_compress(contexts_->deflate, plain.data(), plain.size(), out_.data(),
                                    out_.size());
    WEIR_CHECK(size > 0);
  } else if (coding_ == BodyCoding::kZstd) {
    out_.resize(ZSTD_compressBound(plain.size()));
    size =
        ZSTD_compressCCtx(contexts_->zstd, out_.data(), out_.size(), plain.data(), plain.size(), 1);
    WEIR_CHECK(ZSTD_isError(size) == 0);
  } else {
    return plain;
  }
  return std::string_view(out_).substr(0, size);
}

}  // namespace weir::bench
