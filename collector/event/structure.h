// Finds the structure of a JSON text with simdjson's first stage: the offsets of { } [ ] : ,
// outside of strings, of every opening quote and of the first byte of every other scalar. That
// stage also checks UTF-8, control characters in strings and that the last string is closed. The
// only place that includes simdjson.h; it picks the instruction set at run time. Path: hot (once
// per event).  Thread: one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace weir::event {

class StructureIndex {
 public:
  StructureIndex();
  ~StructureIndex();
  StructureIndex(const StructureIndex&) = delete;
  StructureIndex& operator=(const StructureIndex&) = delete;

  // False when one of the checks fails or the text holds no token. Reads exactly text's bytes.
  // REQUIRES: text.size() < 4 GiB.
  bool build(std::string_view text);

  // Valid until the next build(). offsets()[size()] is readable and is text.size().
  const uint32_t* offsets() const { return offsets_; }
  uint32_t size() const { return size_; }

  // The instruction set in use, for the start-up line: "haswell", "icelake", …
  static std::string_view implementation_name();

 private:
  struct Impl;
  bool reserve(size_t bytes);

  std::unique_ptr<Impl> impl_;
  const uint32_t* offsets_ = nullptr;
  uint32_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace weir::event
