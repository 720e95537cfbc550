#include "forwarder/compression.h"

#include <libdeflate.h>
#include <zstd.h>

namespace weir::forwarder {
namespace {

// Chosen on batches of 1,000 events (691 KB of JSON), microseconds per event and size of the
// result: gzip 1: 1.6, 17.3 %; 4: 3.0, 16.1 %; 6: 4.5, 14.5 %. zstd 1: 0.7, 13.2 %; 3: 1.4, 14.0 %.
constexpr int kGzipLevel = 1;
constexpr int kZstdLevel = 1;

class NoCompressor : public Compressor {
 public:
  Status compress(std::string_view in, std::string* out) override {
    out->assign(in);
    return {};
  }
};

class GzipCompressor : public Compressor {
 public:
  explicit GzipCompressor(libdeflate_compressor* compressor) : compressor_(compressor) {}
  Status compress(std::string_view in, std::string* out) override {
    work_.resize(libdeflate_gzip_compress_bound(compressor_.get(), in.size()));
    const size_t size = libdeflate_gzip_compress(compressor_.get(), in.data(), in.size(),
                                                 work_.data(), work_.size());
    if (size == 0) return fail(ErrorCode::kInternal, "gzip refused a body of {} bytes", in.size());
    out->assign(work_, 0, size);
    return {};
  }

 private:
  struct Free {
    void operator()(libdeflate_compressor* compressor) const {
      libdeflate_free_compressor(compressor);
    }
  };
  std::unique_ptr<libdeflate_compressor, Free> compressor_;
  std::string work_;
};

class ZstdCompressor : public Compressor {
 public:
  explicit ZstdCompressor(ZSTD_CCtx* context) : context_(context) {}
  Status compress(std::string_view in, std::string* out) override {
    work_.resize(ZSTD_compressBound(in.size()));
    const size_t size = ZSTD_compressCCtx(context_.get(), work_.data(), work_.size(), in.data(),
                                          in.size(), kZstdLevel);
    if (ZSTD_isError(size) != 0)
      return fail(ErrorCode::kInternal, "zstd refused a body of {} bytes: {}", in.size(),
                  ZSTD_getErrorName(size));
    out->assign(work_, 0, size);
    return {};
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::string work_;
};

}  // namespace

std::string_view content_encoding(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return "gzip";
    case Compression::kZstd:
      return "zstd";
    case Compression::kNone:
      break;
  }
  return {};
}

Result<std::unique_ptr<Compressor>> Compressor::make(Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      if (libdeflate_compressor* compressor = libdeflate_alloc_compressor(kGzipLevel))
        return std::make_unique<GzipCompressor>(compressor);
      return fail(ErrorCode::kLimit, "no memory for a gzip compressor");
    case Compression::kZstd:
      if (ZSTD_CCtx* context = ZSTD_createCCtx()) return std::make_unique<ZstdCompressor>(context);
      return fail(ErrorCode::kLimit, "no memory for a zstd compressor");
    case Compression::kNone:
      break;
  }
  return std::make_unique<NoCompressor>();
}

}  // namespace weir::forwarder
