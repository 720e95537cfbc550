// The names of the log's files in the data directory.
// Path: cold.  Thread: any.
//
//   lock                              held by the process that serves the directory
//   seg-<shard>-<first, 16 hex>.weir  a segment; -lock beside it while it is written
//   seg-<shard>-<first, 16 hex>.fp    its sidecar: written when it is sealed, outlives it
//   next-<shard>.weir                 the successor of the active segment, made ahead of need
//   damaged/                          what was set aside
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"

namespace weir::storage {

struct LogFile {
  enum class Kind : uint8_t { kSegment, kSidecar } kind{};
  unsigned shard = 0;
  uint64_t first = 0;
};

std::string segment_name(unsigned shard, uint64_t first);
std::string sidecar_name(unsigned shard, uint64_t first);
std::string successor_name(unsigned shard);
std::optional<LogFile> parse_log_file(std::string_view name);

// The names in a directory, sorted, without "." and "..".
Result<std::vector<std::string>> list_directory(const std::string& directory);
Status make_directory(const std::string& directory);  // an existing one is fine

}  // namespace weir::storage
