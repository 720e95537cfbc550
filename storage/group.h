// What one commit is made of: the entries chosen for it, whose requests end with it, and what its
// commit block will say. Reused from commit to commit: nothing is allocated per event.
// Path: hot (per event).  Thread: the shard's writer.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "storage/append.h"
#include "storage/chunk.h"

namespace weir::storage {

// Waiting parts, first in, first out, linked through Part::next.
class PartQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  size_t size() const { return size_; }
  AppendRequest::Part* front() const { return first_; }
  void push(AppendRequest::Part* part) {
    ++size_;
    part->next = nullptr;
    (last_ == nullptr ? first_ : last_->next) = part;
    last_ = part;
  }
  AppendRequest::Part* pop() {
    --size_;
    AppendRequest::Part* part = first_;
    first_ = part->next;
    if (first_ == nullptr) last_ = nullptr;
    part->next = nullptr;
    return part;
  }

 private:
  AppendRequest::Part* first_ = nullptr;
  AppendRequest::Part* last_ = nullptr;
  size_t size_ = 0;
};

// Events per tenant. Most groups have few tenants, most neighbours the same one.
class TenantTally {
 public:
  void clear();
  void add(std::string_view tenant);
  const std::vector<TenantEvents>& rows() const { return rows_; }

 private:
  size_t find_row(std::string_view tenant);
  void grow();

  std::vector<TenantEvents> rows_;
  std::vector<uint32_t> places_;  // hash table of row numbers + 1; a power of two long
  size_t recent_ = 0;
};

struct GroupItem {
  AppendEntry* entry = nullptr;
  int64_t received_ms = 0;
  uint64_t number = 0;  // 0: a duplicate
};

struct Group {
  std::vector<GroupItem> items;
  // Parts that end with this group, and why if not with success.
  std::vector<std::pair<AppendRequest::Part*, Refusal>> finished;
  uint64_t bytes = 0;          // queue_cost() of the items
  uint64_t dropped_bytes = 0;  // of entries that will not be stored
  int64_t began_ns = 0;
  // Filled by the dedupe step.
  uint64_t stored = 0;
  uint64_t first = 0;
  uint64_t payload_bytes = 0;
  ChunkPlan plan;     // of the events to store
  uint64_t cost = 0;  // of their chunks in the segment
  // Scratch of the commit block.
  TenantTally tenants;
  std::string fingerprints;
  std::string block_bytes;

  void clear() {
    items.clear();
    finished.clear();
    bytes = dropped_bytes = stored = first = payload_bytes = cost = 0;
  }
};

}  // namespace weir::storage
