// The receive buffers of one loop: a ring of equal buffers the kernel picks from when bytes arrive
// (io_uring_register_buf_ring(3)), so that an idle connection holds none.
// Path: hot.  Thread: the loop's.
//
// Invariants
//   1. A buffer belongs to the kernel, except between the event that names it and give_back().
//   2. While it belongs to the kernel it is poisoned under AddressSanitizer: a handler that keeps a
//      view of it is found.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "storage/base/result.h"

struct io_uring_buf_ring;

namespace weir::reactor {

class Ring;

class BufferPool {
 public:
  static constexpr uint16_t kGroup = 0;

  // REQUIRES: count is a power of two, at most kMaxReceiveBuffers. Halves the count while the
  // memlock limit refuses it. LIFETIME: destroy the ring first, the kernel holds the memory.
  static Result<std::unique_ptr<BufferPool>> create(Ring& ring, unsigned count,
                                                    unsigned buffer_bytes);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // The bytes a receive left in a buffer; valid until give_back(id).
  std::string_view received(uint16_t id, size_t size);
  void give_back(uint16_t id);

  unsigned count() const { return count_; }

 private:
  BufferPool() = default;
  char* buffer(uint16_t id) const { return buffers_ + size_t{id} * buffer_bytes_; }

  io_uring_buf_ring* ring_ = nullptr;
  char* buffers_ = nullptr;
  unsigned count_ = 0;
  unsigned buffer_bytes_ = 0;
  size_t ring_mapped_bytes_ = 0;
  size_t buffers_mapped_bytes_ = 0;
};

}  // namespace weir::reactor
