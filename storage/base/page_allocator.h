// An allocator for large arrays that live shortly: pages of their own, given back when they end.
// malloc keeps what was freed once such sizes were seen, and it counts as the process's memory.
// Path: cold.  Thread: any.
#pragma once

#include <sys/mman.h>

#include <cstddef>

#include "storage/base/check.h"

namespace weir {

template <class T>
struct PageAllocator {
  using value_type = T;

  PageAllocator() = default;
  template <class Other>
  explicit PageAllocator(const PageAllocator<Other>&) {}

  T* allocate(size_t count) {
    void* const memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WEIR_CHECK(memory != MAP_FAILED, "no memory for {} bytes", count * sizeof(T));
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) { munmap(memory, count * sizeof(T)); }

  friend bool operator==(const PageAllocator&, const PageAllocator&) { return true; }
};

}  // namespace weir
