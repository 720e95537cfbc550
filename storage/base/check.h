// Checks for programmer errors. They stay on in release builds: a collector that acknowledges data
// stops rather than continue in a state nobody designed. Never used on bytes from outside.
#pragma once

#include <fmt/format.h>

#include <string>

namespace weir {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& detail);

}  // namespace weir

// WEIR_CHECK(a == b, "a={} b={}", a, b): cheap, always on. The message is optional.
#define WEIR_CHECK(condition, ...)                                                             \
  do {                                                                                         \
    if (__builtin_expect(!(condition), 0))                                                     \
      ::weir::check_failed(__FILE__, __LINE__, #condition, ::weir::detail::text(__VA_ARGS__)); \
  } while (false)

// The expensive grade: compiled in only with sanitizers or in debug builds.
#if !defined(NDEBUG)
#define WEIR_DIAGNOSTIC(condition, ...) WEIR_CHECK(condition, __VA_ARGS__)
#else
#define WEIR_DIAGNOSTIC(condition, ...) \
  do {                                  \
  } while (false)
#endif

namespace weir::detail {
inline std::string text() { return {}; }
template <class... Args>
std::string text(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
}  // namespace weir::detail
