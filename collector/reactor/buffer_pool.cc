#include "collector/reactor/buffer_pool.h"

#include <liburing.h>
#include <sys/mman.h>

#include <bit>
#include <cerrno>

#include "collector/reactor/denial.h"
#include "collector/reactor/limits.h"
#include "collector/reactor/ring.h"
#include "storage/base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(WEIR_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#endif

namespace weir::reactor {
namespace {

void* map_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

Result<std::unique_ptr<BufferPool>> BufferPool::create(Ring& ring, unsigned count,
                                                       unsigned buffer_bytes) {
  WEIR_CHECK(std::has_single_bit(count) && count <= kMaxReceiveBuffers && buffer_bytes > 0);
  std::unique_ptr<BufferPool> pool(new BufferPool);
  pool->buffer_bytes_ = buffer_bytes;
  // The ring of descriptors is what counts as locked memory; the buffers themselves do not.
  pool->ring_mapped_bytes_ = count * sizeof(io_uring_buf);
  void* memory = map_memory(pool->ring_mapped_bytes_);
  if (memory == nullptr) return fail_errno(errno, "cannot map the receive buffer ring");
  pool->ring_ = static_cast<io_uring_buf_ring*>(memory);

  for (;;) {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(memory);
    registration.ring_entries = count;
    registration.bgid = kGroup;
    const int result = io_uring_register_buf_ring(ring.native(), &registration, 0);
    if (result == 0) break;
    if (result != -ENOMEM || count / 2 < kMinReceiveBuffers)
      return tl::unexpected(explain_denial(-result, DeniedCall::kRegister));
    count /= 2;
  }
  pool->count_ = count;
  pool->buffers_mapped_bytes_ = size_t{count} * buffer_bytes;
  pool->buffers_ = static_cast<char*>(map_memory(pool->buffers_mapped_bytes_));
  if (pool->buffers_ == nullptr)
    return fail_errno(errno, "cannot map {} receive buffers of {} bytes", count, buffer_bytes);
  io_uring_buf_ring_init(pool->ring_);
  for (unsigned id = 0; id < count; ++id) pool->give_back(static_cast<uint16_t>(id));
  return pool;
}

BufferPool::~BufferPool() {
  if (buffers_ != nullptr) {
    ASAN_UNPOISON_MEMORY_REGION(buffers_, buffers_mapped_bytes_);
    munmap(buffers_, buffers_mapped_bytes_);
  }
  if (ring_ != nullptr) munmap(ring_, ring_mapped_bytes_);
}

std::string_view BufferPool::received(uint16_t id, size_t size) {
  WEIR_DIAGNOSTIC(id < count_ && size <= buffer_bytes_);
  ASAN_UNPOISON_MEMORY_REGION(buffer(id), size);
  return {buffer(id), size};
}

void BufferPool::give_back(uint16_t id) {
  ASAN_POISON_MEMORY_REGION(buffer(id), buffer_bytes_);
  io_uring_buf_ring_add(ring_, buffer(id), buffer_bytes_, id,
                        io_uring_buf_ring_mask(static_cast<uint32_t>(count_)), 0);
  io_uring_buf_ring_advance(ring_, 1);
}

}  // namespace weir::reactor
