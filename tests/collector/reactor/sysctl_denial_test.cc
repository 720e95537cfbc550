// Root only: sets kernel.io_uring_disabled, which denies io_uring to the whole machine, for the
// moment in which a child process tries, and restores it. A program of its own, run serially.
#include <fstream>
#include <string>

#include "tests/collector/reactor/denied_child.h"
#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

using testing::HasSubstr;

class SysctlDenialTest : public LoopTest {
 protected:
  static constexpr const char* kPath = "/proc/sys/kernel/io_uring_disabled";

  static bool set(const std::string& value) {
    std::ofstream file(kPath);
    return static_cast<bool>(file << value << std::flush);
  }
  // Restores before it returns, whatever became of the child.
  std::string answer_with(const std::string& value, bool unprivileged) {
    std::string answer = answer_of_a_child([&] {
      if (!set(value)) _exit(4);
      if (unprivileged && (setgid(65'534) != 0 || setuid(65'534) != 0)) _exit(3);
    });
    EXPECT_TRUE(set(before_));
    return answer;
  }
  void SetUp() override {
    LoopTest::SetUp();
    if (IsSkipped()) return;
    std::ifstream file(kPath);
    if (!(file >> before_)) GTEST_SKIP() << "the kernel has no such sysctl (before 6.6)";
    if (geteuid() != 0 || !set(before_)) GTEST_SKIP() << "needs a root that may set sysctls";
  }

  std::string before_;
};

TEST_F(SysctlDenialTest, SaysThatItIsDisabledForAll) {
  EXPECT_THAT(answer_with("2", false), HasSubstr("kernel.io_uring_disabled is 2"));
}

TEST_F(SysctlDenialTest, SaysThatItIsDisabledForTheUnprivileged) {
  EXPECT_THAT(answer_with("1", true), HasSubstr("kernel.io_uring_disabled is 1"));
}

}  // namespace
}  // namespace weir::reactor
