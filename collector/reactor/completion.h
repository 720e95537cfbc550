// An operation the kernel is working on. The Completion is a member of whoever started it: starting
// allocates nothing, and what can be in flight is bounded by what exists.
// Path: hot.  Thread: the loop's.
//
// Invariants
//   1. A Completion stays in memory while in_flight(): its owner waits for the terminal event.
//   2. Its user_data is address plus generation. Each start takes a new generation, so an event of
//      an earlier use of the same slot is recognised and dropped instead of misdelivered. (Owners
//      live in slabs that are never given back while the ring exists, so the address is readable.)
#pragma once

#include <linux/io_uring.h>

#include <cstdint>

#include "storage/base/check.h"

namespace weir::reactor {

// One completion queue entry, as its owner sees it.
struct CompletionEvent {
  int32_t result;  // what the system call would have returned; negative: -errno
  uint32_t flags;

  // More events of this operation follow. When absent the operation is over, whatever its result.
  bool more() const { return (flags & IORING_CQE_F_MORE) != 0; }
  bool has_buffer() const { return (flags & IORING_CQE_F_BUFFER) != 0; }
  uint16_t buffer() const { return static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT); }
};

class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Events go to (owner->*Method)(event). Call once, before the first start.
  template <auto Method, class Owner>
  void bind(Owner* owner) {
    owner_ = owner;
    deliver_ = [](void* bound, const CompletionEvent& event) {
      (static_cast<Owner*>(bound)->*Method)(event);
    };
  }

  bool in_flight() const { return in_flight_; }

  // Called by Ring when the operation is put into the submission queue.
  uint64_t start() {
    WEIR_CHECK(!in_flight_ && deliver_ != nullptr);
    in_flight_ = true;
    ++generation_;
    return user_data();
  }
  uint64_t user_data() const {
    return reinterpret_cast<uint64_t>(this) | (uint64_t{generation_} << kAddressBits);
  }

  // Hands the event to its owner. False: the event belongs to an earlier use of this slot.
  static bool deliver(uint64_t user_data, const CompletionEvent& event) {
    Completion* completion = address_of(user_data);
    if (!completion->in_flight_ ||
        completion->generation_ != static_cast<uint16_t>(user_data >> kAddressBits))
      return false;
    completion->in_flight_ = event.more();
    completion->deliver_(completion->owner_, event);
    return true;
  }
  static Completion* address_of(uint64_t user_data) {
    return reinterpret_cast<Completion*>(user_data & ((uint64_t{1} << kAddressBits) - 1));
  }

  // Forgets an operation whose ring is gone: no event of it will be believed.
  void abandon() {
    in_flight_ = false;
    ++generation_;
  }

 private:
  // User space addresses have 47 bits on x86-64 and 48 on arm64 unless a program asks for more.
  static constexpr unsigned kAddressBits = 48;

  void* owner_ = nullptr;
  void (*deliver_)(void* owner, const CompletionEvent& event) = nullptr;
  uint16_t generation_ = 0;
  bool in_flight_ = false;
};

}  // namespace weir::reactor
