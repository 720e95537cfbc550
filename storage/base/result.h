// Operating errors as values. Programmer errors are WEIR_CHECKs (check.h); bytes from the network
// or the disk only ever produce an Error.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace weir {

enum class ErrorCode : uint8_t {
  kInvalidArgument,  // the caller or the configuration asked for something impossible
  kNotFound,         // the named thing does not exist
  kAlreadyExists,    // the named thing is already there
  kIo,               // the operating system reported an I/O failure
  kNoSpace,          // the file system or a configured size limit is full
  kCorrupt,          // bytes on disk fail their checksum or grammar
  kBusy,             // somebody else holds it (a second process, an open lease)
  kUnavailable,      // not now; trying again later may work
  kPermission,       // the operating system refused (seccomp, sysctl, file mode)
  kLimit,            // a configured limit was reached
  kTimeout,          // a deadline passed
  kInternal,         // should not happen; worth a bug report
};

// The stable lower-case name of a code ("no_space"), for logs and JSON.
std::string_view error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  int os_errno = 0;  // 0 when no system call was involved
  std::string
      message;  // what happened, where, and what to do; a whole sentence without a full stop
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

// fail(ErrorCode::kIo, "cannot open {}: {}", path, why): the error arm of any Result.
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::unexpected<Error>(Error{code, 0, fmt::format(format, std::forward<Args>(args)...)});
}

// Same for a failed system call: appends ": <strerror>" and keeps the number. Maps ENOSPC/EDQUOT to
// kNoSpace, EPERM/EACCES to kPermission, the rest to kIo.
[[nodiscard]] tl::unexpected<Error> fail_errno_text(int os_errno, std::string message);
template <class... Args>
[[nodiscard]] tl::unexpected<Error> fail_errno(int os_errno, fmt::format_string<Args...> format,
                                               Args&&... args) {
  return fail_errno_text(os_errno, fmt::format(format, std::forward<Args>(args)...));
}

#define WEIR_CONCAT_(a, b) a##b
#define WEIR_CONCAT(a, b) WEIR_CONCAT_(a, b)

// Returns the error of a Status expression to the caller.
#define WEIR_RETURN_IF_ERROR(expression)                                       \
  do {                                                                         \
    auto weir_status_ = (expression);                                          \
    if (!weir_status_) return tl::unexpected(std::move(weir_status_).error()); \
  } while (false)

// WEIR_ASSIGN_OR_RETURN(auto file, open(path)): the value, or the error to the caller.
#define WEIR_ASSIGN_OR_RETURN(declaration, expression) \
  WEIR_ASSIGN_OR_RETURN_IMPL(WEIR_CONCAT(weir_result_, __LINE__), declaration, expression)
#define WEIR_ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                       \
  if (!temporary) return tl::unexpected(std::move(temporary).error()); \
  declaration = std::move(*temporary)

}  // namespace weir
