// A hierarchical timer wheel: six levels of 64 slots, one tick of 4.2 ms. Arming, cancelling and
// moving are O(1) and touch, in the common case of a deadline that moves later, only the timer
// itself. No system call: the loop sleeps until next_deadline_ns().
// Path: hot (each request moves its connection's idle timer).  Thread: the loop's.
//
// Invariants
//   1. A timer in slot s of level n has a slot start after current_, equal to current_ in all
//      digits (base 64) above n. So the lowest occupied level holds the next one to fire.
//   2. A timer's slot is never after its deadline; it may be before (a lazily moved timer), then
//      it is placed again when the slot comes up.
//   3. No timer fires early; at most one tick and the length of the turn late.
#pragma once

#include <array>
#include <cstdint>

#include "collector/reactor/loop.h"

namespace weir::reactor {

class TimerWheel {
 public:
  static constexpr int64_t kTickNs = int64_t{1} << 22;

  explicit TimerWheel(int64_t start_ns) : start_ns_(start_ns) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  ~TimerWheel();  // timers still armed are disarmed, so they may outlive the wheel

  void arm(Timer& timer, int64_t deadline_ns);
  static void cancel(Timer& timer);
  // Calls on_timer() of each timer that is due. Callbacks may arm, cancel and destroy any timer.
  void expire(int64_t now_ns);
  // When expire() has something to do next; -1: never.
  int64_t next_deadline_ns();

 private:
  static constexpr unsigned kDigitBits = 6;
  static constexpr unsigned kSlots = 1u << kDigitBits;
  static constexpr unsigned kLevels = 6;
  static constexpr uint64_t kMaxTick = (uint64_t{1} << (kDigitBits * kLevels)) - 1;  // nine years

  struct Position {
    unsigned level;
    unsigned slot;
    uint64_t tick;  // the first tick of the slot
  };
  bool find_next(Position* position);
  void place(Timer& timer);
  static void link(Timer*& head, Timer& timer);

  int64_t start_ns_;
  uint64_t current_ = 0;  // every slot up to here is done
  uint64_t floor_ = 0;    // no timer armed now fires at or before this tick
  // A set bit may be stale (its last timer was cancelled); find_next() clears those it meets.
  std::array<uint64_t, kLevels> occupied_{};
  std::array<std::array<Timer*, kSlots>, kLevels> slots_{};
};

}  // namespace weir::reactor
