// A set of numbers as sorted, disjoint, inclusive intervals: the arithmetic of positions.
// Path: cold.  Thread: the owner's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace weir::storage {

struct Interval {
  uint64_t first = 0;
  uint64_t last = 0;  // inclusive
  friend bool operator==(const Interval&, const Interval&) = default;
};

// Add in any order, then read; normalised on demand.
class IntervalSet {
 public:
  // Empty when first > last.
  void add(uint64_t first, uint64_t last) {
    if (first > last) return;
    sorted_ = sorted_ && (intervals_.empty() || intervals_.back().last < first);
    intervals_.push_back({first, last});
  }
  void add(const IntervalSet& other) {
    for (const Interval& i : other.intervals_) add(i.first, i.last);
  }

  const std::vector<Interval>& intervals() {
    normalise();
    return intervals_;
  }

  bool contains(uint64_t number) {
    normalise();
    auto after = std::upper_bound(intervals_.begin(), intervals_.end(), number,
                                  [](uint64_t n, const Interval& i) { return n < i.first; });
    return after != intervals_.begin() && std::prev(after)->last >= number;
  }

  // This without what is in other, and only what lies in [first, last].
  IntervalSet without(IntervalSet& other, uint64_t first, uint64_t last) {
    normalise();
    other.normalise();
    IntervalSet rest;
    auto hole = other.intervals_.begin();
    for (Interval i : intervals_) {
      i.first = std::max(i.first, first);
      i.last = std::min(i.last, last);
      if (i.first > i.last) continue;
      while (hole != other.intervals_.end() && hole->last < i.first) ++hole;
      bool empty = false;
      for (auto h = hole; h != other.intervals_.end() && h->first <= i.last; ++h) {
        if (h->first > i.first) rest.add(i.first, h->first - 1);
        if (h->last >= i.last) {
          empty = true;
          break;
        }
        i.first = std::max(i.first, h->last + 1);
      }
      if (!empty) rest.add(i.first, i.last);
    }
    return rest;
  }

  IntervalSet clipped(uint64_t first, uint64_t last) {
    IntervalSet none;
    return without(none, first, last);
  }

  bool empty() const { return intervals_.empty(); }

 private:
  void normalise() {
    if (sorted_) return;
    std::sort(intervals_.begin(), intervals_.end(),
              [](const Interval& a, const Interval& b) { return a.first < b.first; });
    std::vector<Interval> merged;
    for (const Interval& i : intervals_) {
      if (!merged.empty() && i.first <= merged.back().last)
        merged.back().last = std::max(merged.back().last, i.last);
      else
        merged.push_back(i);
    }
    intervals_ = std::move(merged);
    sorted_ = true;
  }

  std::vector<Interval> intervals_;
  bool sorted_ = true;  // and disjoint
};

}  // namespace weir::storage
