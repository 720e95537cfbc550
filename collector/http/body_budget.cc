// Body memory: blocks in a few size classes, kept per thread, charged to one budget per process.
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "collector/http/server.h"
#include "storage/base/check.h"

namespace weir::http {
namespace {

// A body is released on the loop that reserved it almost always, so that blocks circulate here
// without touching the allocator. As many as wait for one commit on a busy edge: a body is held
// until then. Bounded: at most 1 + 0.5 + 0.5 MiB a thread.
struct BlockClass {
  size_t bytes;
  size_t keep;
};
constexpr std::array<BlockClass, 3> kClasses{{{1024, 1024}, {4096, 128}, {16'384, 32}}};
constexpr size_t kMostKept = 1024;

class BlockCache {
 public:
  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() {
    for (size_t i = 0; i < kClasses.size(); ++i)
      while (count_[i] > 0) std::free(blocks_[i][--count_[i]]);
  }

  char* take(size_t block_bytes) {
    const size_t index = class_of(block_bytes);
    if (index < kClasses.size() && count_[index] > 0) return blocks_[index][--count_[index]];
    return static_cast<char*>(std::malloc(block_bytes));
  }

  void give(char* block, size_t block_bytes) {
    const size_t index = class_of(block_bytes);
    if (index < kClasses.size() && count_[index] < kClasses[index].keep)
      blocks_[index][count_[index]++] = block;
    else
      std::free(block);
  }

 private:
  static size_t class_of(size_t block_bytes) {
    size_t index = 0;
    while (index < kClasses.size() && kClasses[index].bytes != block_bytes) ++index;
    return index;
  }

  std::array<std::array<char*, kMostKept>, kClasses.size()> blocks_{};
  std::array<size_t, kClasses.size()> count_{};
};
thread_local BlockCache block_cache;

size_t block_size(size_t capacity) {
  const size_t needed = capacity + Body::kPadding;
  for (const BlockClass& entry : kClasses)
    if (needed <= entry.bytes) return entry.bytes;
  return needed;
}

}  // namespace

Body::Body(Body&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)),
      budget_(std::exchange(other.budget_, nullptr)) {}

Body& Body::operator=(Body&& other) noexcept {
  if (this != &other) {
    if (budget_ != nullptr) budget_->release(*this);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    budget_ = std::exchange(other.budget_, nullptr);
  }
  return *this;
}

Body::~Body() {
  if (budget_ != nullptr) budget_->release(*this);
}

bool BodyBudget::reserve(Body& body, size_t capacity) {
  WEIR_CHECK(body.budget_ == nullptr, "the body already holds {} bytes", body.capacity_);
  const size_t block = block_size(capacity);
  if (used_.fetch_add(block, std::memory_order_relaxed) + block > limit()) {
    used_.fetch_sub(block, std::memory_order_relaxed);
    return false;
  }
  body.data_ = block_cache.take(block);
  if (body.data_ == nullptr) {
    used_.fetch_sub(block, std::memory_order_relaxed);
    return false;
  }
  body.size_ = 0;
  body.capacity_ = block - Body::kPadding;
  body.budget_ = this;
  return true;
}

bool BodyBudget::grow(Body& body, size_t capacity) {
  if (capacity <= body.capacity_) return true;
  Body larger;
  if (!reserve(larger, capacity)) return false;
  std::memcpy(larger.data_, body.data_, body.size_);
  set_size(larger, body.size_);
  body = std::move(larger);
  return true;
}

void BodyBudget::set_size(Body& body, size_t size) {
  WEIR_CHECK(size <= body.capacity_, "size={} capacity={}", size, body.capacity_);
  body.size_ = size;
  // Parsers read up to kPadding bytes past the end; they must not see another request's text.
  std::memset(body.data_ + size, 0, Body::kPadding);
}

void BodyBudget::release(Body& body) {
  if (body.budget_ == nullptr) return;
  const size_t block = body.capacity_ + Body::kPadding;
  block_cache.give(body.data_, block);
  used_.fetch_sub(block, std::memory_order_relaxed);
  body.data_ = nullptr;
  body.size_ = 0;
  body.capacity_ = 0;
  body.budget_ = nullptr;
}

}  // namespace weir::http
