#include "bench/load/process_usage.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
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

struct ProcessTimes {
  double user_seconds = 0;
  double system_seconds = 0;
  bool kernel_thread = false;
};

// Fields of /proc/<pid>/stat behind the name: 9 flags, 14 and 15 times in clock ticks (10 ms, fine
// for runs of seconds). False when the process is gone.
bool read_times(const std::string& pid, ProcessTimes* times) {
  constexpr uint64_t kKernelThread = 0x00200000;  // PF_KTHREAD of linux/sched.h
  const auto tick = static_cast<double>(sysconf(_SC_CLK_TCK));
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  if (!std::getline(in, line)) return false;
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return false;
  std::istringstream fields(line.substr(name_end + 2));
  std::string skip;
  uint64_t flags = 0;
  uint64_t user = 0;
  uint64_t system = 0;
  for (int i = 0; i < 6; ++i) fields >> skip;
  fields >> flags >> skip >> skip >> skip >> skip >> user >> system;
  times->user_seconds = static_cast<double>(user) / tick;
  times->system_seconds = static_cast<double>(system) / tick;
  times->kernel_thread = (flags & kKernelThread) != 0;
  return static_cast<bool>(fields);
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
  for (const pid_t pid : pids) {
    ProcessTimes times;
    if (!read_times(std::to_string(pid), &times)) {
      usage.known = false;
      continue;
    }
    usage.user_seconds += times.user_seconds;
    usage.system_seconds += times.system_seconds;
    usage.rss_bytes += status_kib(pid, "VmRSS:") * 1024;
    usage.rss_anon_bytes += status_kib(pid, "RssAnon:") * 1024;
  }
  return usage;
}

KernelReading read_kernel() {
  KernelReading reading;
  std::ifstream vmstat("/proc/vmstat");
  std::string name;
  uint64_t value = 0;
  while (vmstat >> name >> value)
    if (name == "nr_written")
      reading.written_bytes = value * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  DIR* dir = opendir("/proc");
  if (dir == nullptr) return reading;
  while (const dirent* entry = readdir(dir)) {
    const std::string pid = entry->d_name;
    ProcessTimes times;
    if (pid.find_first_not_of("0123456789") != std::string::npos || !read_times(pid, &times))
      continue;
    if (times.kernel_thread)
      reading.thread_seconds[static_cast<pid_t>(std::stol(pid))] = times.system_seconds;
  }
  closedir(dir);
  return reading;
}

KernelUsage kernel_usage(const KernelReading& before, const KernelReading& after) {
  KernelUsage usage;
  usage.written_bytes = after.written_bytes - before.written_bytes;
  for (const auto& [pid, seconds] : after.thread_seconds) {
    const auto earlier = before.thread_seconds.find(pid);
    const double then = earlier == before.thread_seconds.end() ? 0 : earlier->second;
    usage.thread_seconds += std::max(0.0, seconds - then);
  }
  return usage;
}

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

}  // namespace weir::bench
