#include "storage/base/result.h"

#include <cerrno>
#include <cstring>

namespace weir {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kAlreadyExists:
      return "already_exists";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kNoSpace:
      return "no_space";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kBusy:
      return "busy";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kPermission:
      return "permission";
    case ErrorCode::kLimit:
      return "limit";
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

tl::unexpected<Error> fail_errno_text(int os_errno, std::string message) {
  ErrorCode code = ErrorCode::kIo;
  if (os_errno == ENOSPC || os_errno == EDQUOT) code = ErrorCode::kNoSpace;
  if (os_errno == EPERM || os_errno == EACCES) code = ErrorCode::kPermission;
  if (os_errno == ENOENT) code = ErrorCode::kNotFound;
  message += ": ";
  message += std::strerror(os_errno);
  return tl::unexpected<Error>(Error{code, os_errno, std::move(message)});
}

}  // namespace weir
