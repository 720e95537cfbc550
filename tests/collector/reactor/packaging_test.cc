// The shipped seccomp profile allows what the reactor really calls: recorded with strace, compared
// by name. (The profile denies with EPERM whatever it does not name.)
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "tests/collector/reactor/loop_fixture.h"
#include "tests/collector/reactor/run_program.h"

namespace weir::reactor {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The system call of a line of strace -f: "1234  openat(…", "1234 <... read resumed>…".
std::string call_name(const std::string& line) {
  size_t at = line.find_first_not_of("0123456789 ");
  if (at == std::string::npos || !std::islower(static_cast<unsigned char>(line[at]))) return {};
  const size_t end = line.find('(', at);
  return end == std::string::npos ? std::string() : line.substr(at, end - at);
}

TEST(SeccompProfileTest, NamesTheThreeCallsOfIoUring) {
  const std::string profile = read_file(WEIR_SECCOMP_PROFILE);
  for (const char* call : {"io_uring_setup", "io_uring_enter", "io_uring_register"})
    EXPECT_THAT(profile, testing::HasSubstr(std::string("\"") + call + '"'));
  EXPECT_THAT(profile, testing::HasSubstr("\"defaultAction\": \"SCMP_ACT_ERRNO\""));
}

TEST(SeccompProfileTest, AllowsEverythingTheReactorCalls) {
  if (!can_trace()) GTEST_SKIP() << "strace is missing or may not trace here";
  char trace_path[] = "/tmp/weir-reactor-trace-XXXXXX";
  const int trace_fd = mkstemp(trace_path);
  ASSERT_GE(trace_fd, 0);
  close(trace_fd);
  char self[4096] = "";
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof self - 1), 0);
  setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // the leak check cannot run while traced
  const int exit_code = run_program({"strace", "-f", "-o", trace_path, self,
                                     "--gtest_filter=LoopOnlyTest.EchoesThroughInterruptions"});
  const std::string trace = read_file(trace_path);
  unlink(trace_path);
  ASSERT_EQ(exit_code, 0);

  const std::string profile = read_file(WEIR_SECCOMP_PROFILE);
  std::set<std::string> called;
  std::istringstream lines(trace);
  for (std::string line; std::getline(lines, line);)
    if (const std::string name = call_name(line); !name.empty()) called.insert(name);
  EXPECT_TRUE(called.count("io_uring_enter")) << "the trace shows no reactor";
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  called.erase("personality");  // the sanitizers switch address randomisation off
#endif
  for (const std::string& name : called) EXPECT_THAT(profile, testing::HasSubstr('"' + name + '"'));
}

}  // namespace
}  // namespace weir::reactor
