// A doubly linked list through its elements: no allocation, O(1) everything, and an element that
// is destroyed leaves the list it is in. Not thread-safe: belongs to one loop's thread.
#pragma once

namespace weir::reactor {

// Embedded in (or a base of) what is listed. OWNS: nothing.
class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

 private:
  friend class LinkList;
  ListLink* next_ = nullptr;
  ListLink* prev_ = nullptr;
};

class LinkList {
 public:
  LinkList() { head_.next_ = head_.prev_ = &head_; }
  LinkList(const LinkList&) = delete;
  LinkList& operator=(const LinkList&) = delete;
  // What is still listed is released, not destroyed.
  ~LinkList() {
    while (pop_front() != nullptr) {
    }
    head_.next_ = head_.prev_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }

  // REQUIRES: link is in no list.
  void push_back(ListLink& link) {
    link.prev_ = head_.prev_;
    link.next_ = &head_;
    head_.prev_->next_ = &link;
    head_.prev_ = &link;
  }

  ListLink* pop_front() {
    if (empty()) return nullptr;
    ListLink* first = head_.next_;
    first->unlink();
    return first;
  }

  // Appends everything `other` holds; it is empty afterwards.
  void take_all(LinkList& other) {
    if (other.empty()) return;
    ListLink* first = other.head_.next_;
    ListLink* last = other.head_.prev_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
    other.head_.next_ = other.head_.prev_ = &other.head_;
  }

 private:
  ListLink head_;
};

}  // namespace weir::reactor
