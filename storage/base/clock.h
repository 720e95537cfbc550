// Time, injectable. Wall time may jump (NTP, an operator); nothing but timestamps and age limits
// may depend on it. Deadlines, linger and backoff use monotonic time.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t wall_ms() const = 0;       // milliseconds since 1970-01-01 UTC
  virtual int64_t monotonic_ns() const = 0;  // since an arbitrary start, never backwards

  static const Clock& system();  // lives as long as the process; any thread
};

// A clock tests set by hand.
class ManualClock : public Clock {
 public:
  int64_t wall_ms() const override { return wall_ms_.load(); }
  int64_t monotonic_ns() const override { return monotonic_ns_.load(); }
  void advance_ms(int64_t ms) {
    wall_ms_ += ms;
    monotonic_ns_ += ms * 1'000'000;
  }
  void set_wall_ms(int64_t ms) { wall_ms_ = ms; }

 private:
  // A thread under test may read it while the test moves it.
  std::atomic<int64_t> wall_ms_{1'700'000'000'000};
  std::atomic<int64_t> monotonic_ns_{1};
};

// RFC 3339 with milliseconds, in UTC: "2026-11-20T21:00:00.123Z".
std::string format_rfc3339_ms(int64_t wall_ms);
void append_rfc3339_ms(std::string& out, int64_t wall_ms);
// Accepts RFC 3339 section 5.6 (any offset, any number of fraction digits, 't'/' ' as separator).
// False when the text is not a timestamp; *wall_ms is untouched then.
bool parse_rfc3339_ms(std::string_view text, int64_t* wall_ms);

}  // namespace weir
