// What this binary is: shown by `weir version`, the start-up line and weir_build_info.
#pragma once

#include <string>
#include <string_view>

namespace weir {

std::string_view version();           // "0.1.0"
std::string_view liburing_version();  // what it was built with
std::string_view lmdb_version();
std::string_view compiler();
std::string kernel_release();  // of the running kernel: "6.1.0-18-amd64"

}  // namespace weir
