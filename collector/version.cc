#include "collector/version.h"

#include <sys/utsname.h>

namespace weir {

std::string_view version() { return WEIR_VERSION; }
std::string_view liburing_version() { return WEIR_LIBURING_VERSION; }
std::string_view lmdb_version() { return WEIR_LMDB_VERSION; }

std::string_view compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

std::string kernel_release() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace weir
