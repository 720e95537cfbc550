#include "storage/file_names.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace weir::storage {
namespace {

std::string log_name(unsigned shard, uint64_t first, std::string_view suffix) {
  return fmt::format("seg-{}-{:016x}{}", shard, first, suffix);
}

}  // namespace

std::string segment_name(unsigned shard, uint64_t first) { return log_name(shard, first, ".weir"); }
std::string sidecar_name(unsigned shard, uint64_t first) { return log_name(shard, first, ".fp"); }
std::string successor_name(unsigned shard) { return fmt::format("next-{}.weir", shard); }

std::optional<LogFile> parse_log_file(std::string_view name) {
  // seg-<one digit>-<16 hex>.<suffix>
  if (name.size() < 25 || name.substr(0, 4) != "seg-" || name[5] != '-') return std::nullopt;
  if (name[4] < '0' || name[4] > '7') return std::nullopt;
  LogFile file;
  file.shard = static_cast<unsigned>(name[4] - '0');
  const char* const hex = name.data() + 6;
  const auto parsed = std::from_chars(hex, hex + 16, file.first, 16);
  if (parsed.ec != std::errc() || parsed.ptr != hex + 16 || file.first == 0) return std::nullopt;
  const std::string_view suffix = name.substr(22);
  if (suffix == ".weir") {
    file.kind = LogFile::Kind::kSegment;
  } else if (suffix == ".fp") {
    file.kind = LogFile::Kind::kSidecar;
  } else {
    return std::nullopt;
  }
  return file;
}

Result<std::vector<std::string>> list_directory(const std::string& directory) {
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) return fail_errno(errno, "cannot list {}", directory);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

Status make_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0750) != 0 && errno != EEXIST)
    return fail_errno(errno, "cannot create the directory {}", directory);
  return {};
}

}  // namespace weir::storage
