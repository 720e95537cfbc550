#include "bench/load/process_usage.h"

#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

namespace weir::bench {
namespace {

// The socket inodes that listen on the port: state 0A in /proc/net/tcp and tcp6.
std::set<std::string> listening_inodes(unsigned port) {
  std::set<std::string> inodes;
  for (const char* file : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream in(file);
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, skip, inode;
      fields >> slot >> local >> remote >> state >> skip >> skip >> skip >> skip >> skip >> inode;
      if (state != "0A") continue;
      const size_t colon = local.rfind(':');
      if (colon == std::string::npos) continue;
      if (std::stoul(local.substr(colon + 1), nullptr, 16) == port) inodes.insert(inode);
    }
  }
  return inodes;
}

bool holds_any(const std::string& pid, const std::set<std::string>& inodes) {
  const std::string folder = "/proc/" + pid + "/fd";
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return false;
  bool found = false;
  while (const dirent* entry = readdir(dir)) {
    std::array<char, 64> target{};
    const ssize_t size =
        readlink((folder + "/" + entry->d_name).c_str(), target.data(), target.size() - 1);
    if (size <= 0) continue;
    const std::string text(target.data(), static_cast<size_t>(size));
    if (text.rfind("socket:[", 0) == 0 && inodes.count(text.substr(8, text.size() - 9)) > 0) {
      found = true;
      break;
    }
  }
  closedir(dir);
  return found;
}

uint64_t status_kib(pid_t pid, const std::string& name) {
  std::ifstream in(fmt::format("/proc/{}/status", pid));
  std::string line;
  while (std::getline(in, line))
    if (line.rfind(name, 0) == 0) return std::stoull(line.substr(name.size()));
  return 0;
}

}  // namespace

std::vector<pid_t> listeners_of_port(unsigned port) {
  const std::set<std::string> inodes = listening_inodes(port);
  std::vector<pid_t> pids;
  if (inodes.empty()) return pids;
  DIR* dir = opendir("/proc");
  if (dir == nullptr) return pids;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (holds_any(name, inodes)) pids.push_back(static_cast<pid_t>(std::stol(name)));
  }
  closedir(dir);
  return pids;
}

ProcessUsage read_usage(const std::vector<pid_t>& pids) {
  ProcessUsage usage;
  usage.known = !pids.empty();
  const auto tick = static_cast<double>(sysconf(_SC_CLK_TCK));
  for (const pid_t pid : pids) {
    // Fields 14 and 15 of /proc/<pid>/stat, in clock ticks: 10 ms, fine for runs of seconds.
    std::ifstream in(fmt::format("/proc/{}/stat", pid));
    std::string line;
    if (!std::getline(in, line)) {
      usage.known = false;
      continue;
    }
    std::istringstream fields(line.substr(line.rfind(')') + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) fields >> skip;
    uint64_t user = 0;
    uint64_t system = 0;
    fields >> user >> system;
    usage.user_seconds += static_cast<double>(user) / tick;
    usage.system_seconds += static_cast<double>(system) / tick;
    usage.rss_bytes += status_kib(pid, "VmRSS:") * 1024;
    usage.rss_anon_bytes += status_kib(pid, "RssAnon:") * 1024;
  }
  return usage;
}

}  // namespace weir::bench
