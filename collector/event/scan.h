// Finds where a JSON object or array ends without understanding it: brackets outside of strings are
// counted, 64 bytes at a time. Whether the text is valid is for the parser to say; for valid text
// the answer is exact.
// Path: hot (every byte of a batch).  Thread: any (no state but the caller's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::event {

// Where a scan stands, so that it can go on in a later slice.
struct ContainerScan {
  uint64_t depth = 0;      // open containers
  uint64_t in_string = 0;  // all ones inside a string
  uint64_t escaped = 0;    // 1 when the next byte is escaped
};

// Goes on from `at` to the end of the container (depth returns to zero) or to `end`. Returns the
// offset behind the closing bracket, or `end` with scan.depth > 0. Reads no byte outside of
// [at, end). For a fresh scan `at` is the opening bracket.
size_t scan_container(ContainerScan& scan, const char* text, size_t at, size_t end);

// The same without SIMD; what the fast ones are tested against.
size_t scan_container_plain(ContainerScan& scan, const char* text, size_t at, size_t end);

// The offset behind the closing quote of the string whose opening quote is at `at`, npos when it
// does not end before `end`.
size_t scan_string(const char* text, size_t at, size_t end);

// The first offset in [at, end) that is not JSON white space, or end.
size_t skip_space(const char* text, size_t at, size_t end);

std::string_view scan_implementation_name();  // "avx2", "sse2", "plain"

}  // namespace weir::event
