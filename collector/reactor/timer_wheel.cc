#include "collector/reactor/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace weir::reactor {

TimerWheel::~TimerWheel() {
  for (auto& level : slots_)
    for (Timer* head : level)
      while (head != nullptr) {
        Timer* following = head->list_next_;
        head->unlink();
        head = following;
      }
}

void TimerWheel::arm(Timer& timer, int64_t deadline_ns) {
  const int64_t since_start = std::max<int64_t>(deadline_ns - start_ns_, 0);
  // Rounded up: never early.
  const auto due = static_cast<uint64_t>(since_start / kTickNs + (since_start % kTickNs != 0));
  const uint64_t tick = std::min(std::max(due, floor_ + 1), kMaxTick);
  if (timer.armed()) {
    const bool later = tick >= timer.deadline_tick_;
    timer.deadline_tick_ = tick;
    if (later) return;  // stays where it is; placed again when its slot comes up
    timer.unlink();
  }
  timer.deadline_tick_ = tick;
  place(timer);
}

void TimerWheel::cancel(Timer& timer) { timer.unlink(); }

void TimerWheel::expire(int64_t now_ns) {
  const auto target =
      std::min(static_cast<uint64_t>(std::max<int64_t>(now_ns - start_ns_, 0) / kTickNs), kMaxTick);
  floor_ = std::max(floor_, target);
  Position next;
  while (find_next(&next) && next.tick <= target) {
    current_ = next.tick;
    occupied_[next.level] &= ~(uint64_t{1} << next.slot);
    // Callbacks may cancel or destroy timers of this very slot, so the list is popped one by one
    // from a head they can reach.
    Timer* due = slots_[next.level][next.slot];
    slots_[next.level][next.slot] = nullptr;
    due->list_prev_ = &due;
    while (due != nullptr) {
      Timer& timer = *due;
      timer.unlink();
      if (timer.deadline_tick_ > current_)
        place(timer);
      else
        timer.on_timer();
    }
  }
  current_ = std::max(current_, target);
}

int64_t TimerWheel::next_deadline_ns() {
  Position next;
  if (!find_next(&next)) return -1;
  return start_ns_ + static_cast<int64_t>(next.tick) * kTickNs;
}

bool TimerWheel::find_next(Position* position) {
  for (unsigned level = 0; level < kLevels; ++level) {
    while (occupied_[level] != 0) {
      const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
      if (slots_[level][slot] == nullptr) {
        occupied_[level] &= ~(uint64_t{1} << slot);
        continue;
      }
      const unsigned shift = kDigitBits * level;
      const uint64_t above = current_ >> (shift + kDigitBits) << (shift + kDigitBits);
      *position = {level, slot, above | (uint64_t{slot} << shift)};
      return true;
    }
  }
  return false;
}

// REQUIRES: timer.deadline_tick_ > current_.
void TimerWheel::place(Timer& timer) {
  const uint64_t tick = timer.deadline_tick_;
  // The highest digit in which deadline and present differ decides the level.
  const auto highest_bit = static_cast<unsigned>(std::bit_width((current_ ^ tick) | 1)) - 1;
  const unsigned level = std::min(highest_bit / kDigitBits, kLevels - 1);
  const unsigned slot = (tick >> (kDigitBits * level)) & (kSlots - 1);
  occupied_[level] |= uint64_t{1} << slot;
  link(slots_[level][slot], timer);
}

void TimerWheel::link(Timer*& head, Timer& timer) {
  timer.list_next_ = head;
  timer.list_prev_ = &head;
  if (head != nullptr) head->list_prev_ = &timer.list_next_;
  head = &timer;
}

}  // namespace weir::reactor
