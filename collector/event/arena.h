// Memory that is given back as a whole: what one request needs until its outcome.
// Path: hot (per event).  Thread: one owner.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace weir::event {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Bytes without alignment. LIFETIME: until reset().
  char* allocate(size_t bytes) {
    if (bytes > left_) grow(bytes);
    char* at = next_;
    next_ += bytes;
    left_ -= bytes;
    return at;
  }
  // Gives back the end of the latest allocation.
  void shrink_last(size_t bytes) {
    next_ -= bytes;
    left_ += bytes;
  }
  std::string_view copy(std::string_view bytes) {
    if (bytes.empty()) return {};
    char* at = allocate(bytes.size());
    std::memcpy(at, bytes.data(), bytes.size());
    return {at, bytes.size()};
  }

  size_t capacity() const { return capacity_; }

  // Forgets everything; keeps one chunk of up to kKeepBytes for the next request.
  void reset() {
    if (chunks_.empty()) return;
    Chunk last = std::move(chunks_.back());
    chunks_.clear();
    capacity_ = 0;
    if (last.size > kKeepBytes) {
      next_ = nullptr;
      left_ = 0;
      return;
    }
    next_ = last.bytes.get();
    left_ = capacity_ = last.size;
    chunks_.push_back(std::move(last));
  }

 private:
  static constexpr size_t kFirstBytes = 1 << 10;    // one event with its head
  static constexpr size_t kChunkBytes = 256 << 10;  // chunks double up to this
  static constexpr size_t kKeepBytes = 64 << 10;
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;
  };

  void grow(size_t bytes) {
    size_t size = capacity_ == 0 ? kFirstBytes : capacity_;
    if (size > kChunkBytes) size = kChunkBytes;
    if (size < bytes) size = bytes;
    chunks_.push_back({std::unique_ptr<char[]>(new char[size]), size});
    next_ = chunks_.back().bytes.get();
    left_ = size;
    capacity_ += size;
  }

  std::vector<Chunk> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t capacity_ = 0;
};

}  // namespace weir::event
