// Compresses request bodies at the cheapest level: the load generator must stay cheaper than the
// server.
// Thread: belongs to one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "bench/load/load_options.h"

namespace weir::bench {

class BodyCompressor {
 public:
  explicit BodyCompressor(BodyCoding coding);
  ~BodyCompressor();
  BodyCompressor(const BodyCompressor&) = delete;
  BodyCompressor& operator=(const BodyCompressor&) = delete;

  // The Content-Encoding; empty for none.
  std::string_view name() const;
  // LIFETIME of the result: until the next call; plain itself without a coding.
  std::string_view compress(std::string_view plain);

 private:
  struct Contexts;
  BodyCoding coding_;
  std::unique_ptr<Contexts> contexts_;
  std::string out_;
};

}  // namespace weir::bench
