#include "storage/base/clock.h"

#include <ctime>

namespace weir {
namespace {

class SystemClock : public Clock {
 public:
  int64_t wall_ms() const override {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
  }
  int64_t monotonic_ns() const override {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
};

// Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-Compatible Low-Level
// Date Algorithms").
int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<int64_t>(day_of_era) - 719468;
}

void civil_from_days(int64_t days, int64_t* year, unsigned* month, unsigned* day) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  *day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  *month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  *year = static_cast<int64_t>(year_of_era) + era * 400 + (*month <= 2);
}

void put_digits(char* to, uint64_t value, int count) {
  for (int i = count - 1; i >= 0; --i) {
    to[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

bool take_digits(std::string_view& text, int count, int64_t* value) {
  if (text.size() < static_cast<size_t>(count)) return false;
  int64_t sum = 0;
  for (int i = 0; i < count; ++i) {
    const char digit = text[static_cast<size_t>(i)];
    if (digit < '0' || digit > '9') return false;
    sum = sum * 10 + (digit - '0');
  }
  text.remove_prefix(static_cast<size_t>(count));
  *value = sum;
  return true;
}

bool take_char(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

const Clock& Clock::system() {
  static const SystemClock clock;
  return clock;
}

void append_rfc3339_ms(std::string& out, int64_t wall_ms) {
  constexpr int64_t kDayMs = 86'400'000;
  int64_t days = wall_ms / kDayMs;
  int64_t rest = wall_ms % kDayMs;
  if (rest < 0) {
    rest += kDayMs;
    --days;
  }
  int64_t year = 0;
  unsigned month = 0;
  unsigned day = 0;
  civil_from_days(days, &year, &month, &day);
  char text[] = "0000-00-00T00:00:00.000Z";
  put_digits(text, static_cast<uint64_t>(year < 0 ? 0 : year), 4);
  put_digits(text + 5, month, 2);
  put_digits(text + 8, day, 2);
  const auto ms = static_cast<uint64_t>(rest);
  put_digits(text + 11, ms / 3'600'000, 2);
  put_digits(text + 14, ms / 60'000 % 60, 2);
  put_digits(text + 17, ms / 1000 % 60, 2);
  put_digits(text + 20, ms % 1000, 3);
  out.append(text, sizeof text - 1);
}

std::string format_rfc3339_ms(int64_t wall_ms) {
  std::string out;
  append_rfc3339_ms(out, wall_ms);
  return out;
}

bool parse_rfc3339_ms(std::string_view text, int64_t* wall_ms) {
  int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0;
  if (!take_digits(text, 4, &year) || !take_char(text, "-") || !take_digits(text, 2, &month) ||
      !take_char(text, "-") || !take_digits(text, 2, &day) || !take_char(text, "Tt ") ||
      !take_digits(text, 2, &hour) || !take_char(text, ":") || !take_digits(text, 2, &minute) ||
      !take_char(text, ":") || !take_digits(text, 2, &second))
    return false;
  static constexpr int kDaysInMonth[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1 || day > kDaysInMonth[month - 1]) return false;
  const bool leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (month == 2 && day == 29 && !leap_year) return false;
  if (hour > 23 || minute > 59 || second > 60) return false;  // 60: a leap second
  if (take_char(text, ".")) {
    int64_t scale = 100;
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
      ms += (text[digits] - '0') * scale;
      scale /= 10;
      ++digits;
    }
    if (digits == 0) return false;
    text.remove_prefix(digits);
  }
  int64_t offset_minutes = 0;
  if (text.empty()) return false;
  if (text.front() == '+' || text.front() == '-') {
    const int64_t sign = text.front() == '+' ? 1 : -1;
    text.remove_prefix(1);
    int64_t offset_hours = 0;
    int64_t minutes = 0;
    if (!take_digits(text, 2, &offset_hours) || !take_char(text, ":") ||
        !take_digits(text, 2, &minutes) || offset_hours > 23 || minutes > 59)
      return false;
    offset_minutes = sign * (offset_hours * 60 + minutes);
  } else if (!take_char(text, "Zz")) {
    return false;
  }
  if (!text.empty()) return false;
  const int64_t days =
      days_from_civil(year, static_cast<unsigned>(month), static_cast<unsigned>(day));
  *wall_ms = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60'000 + second * 1000 + ms;
  return true;
}

}  // namespace weir
