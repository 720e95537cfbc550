// Where threads meet. An intrusive list many threads push to and one takes from as a whole: one
// atomic operation for any number of items, no allocation, no lock. It is bounded by what may be
// pushed (each user counts its own items against its own limit and says so).
#pragma once

#include <atomic>

namespace weir {

// T has a member `T* next` that belongs to the mailbox while the item is in it.
template <class T>
class Mailbox {
 public:
  Mailbox() = default;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. True when the mailbox was empty: then, and only then, the owner needs a wake-up.
  bool push(T* item) { return push_chain(item, item); }

  // Pushes first..last linked by next, in that order, in one step.
  bool push_chain(T* first, T* last) {
    // Reverse, because the list is a stack and take_all() reverses it again.
    T* newest = nullptr;
    T* const end = last->next = nullptr;
    for (T* item = first; item != end;) {
      T* following = item->next;
      item->next = newest;
      newest = item;
      item = following;
    }
    T* head = head_.load(std::memory_order_relaxed);
    do {
      first->next = head;
    } while (!head_.compare_exchange_weak(head, newest, std::memory_order_release,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }

  // Owner only. The items in the order in which they were pushed, linked by next; null when empty.
  T* take_all() {
    T* item = head_.exchange(nullptr, std::memory_order_acquire);
    T* oldest = nullptr;
    while (item != nullptr) {
      T* following = item->next;
      item->next = oldest;
      oldest = item;
      item = following;
    }
    return oldest;
  }

  bool empty() const { return head_.load(std::memory_order_relaxed) == nullptr; }

 private:
  alignas(64) std::atomic<T*> head_{nullptr};
};

}  // namespace weir
