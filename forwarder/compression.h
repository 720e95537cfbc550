// One-shot compression of a batch's body. The same input gives the same bytes as long as the
// library stays the same.
// Path: warm (per batch, but over all of its bytes).  Thread: the object belongs to one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "forwarder/forwarder.h"
#include "storage/base/result.h"

namespace weir::forwarder {

// The Content-Encoding it stands for; empty for none.
std::string_view content_encoding(Compression compression);

class Compressor {
 public:
  static Result<std::unique_ptr<Compressor>> make(Compression compression);
  virtual ~Compressor() = default;
  // Replaces *out.
  virtual Status compress(std::string_view in, std::string* out) = 0;
};

}  // namespace weir::forwarder
