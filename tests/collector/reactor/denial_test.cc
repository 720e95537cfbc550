// Where io_uring is denied the error says what denies it and how to allow it. Each situation is
// stated as facts, and the three that can be made here are made in a child process.
#include "collector/reactor/denial.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cstddef>

#include "collector/reactor/ring.h"
#include "tests/collector/reactor/denied_child.h"
#include "tests/collector/reactor/loop_fixture.h"

namespace weir::reactor {
namespace {

using testing::AllOf;
using testing::HasSubstr;

DenialFacts facts(int os_errno) {
  DenialFacts facts;
  facts.os_errno = os_errno;
  facts.sysctl_disabled = 0;
  facts.memlock_bytes = 65'536;
  facts.kernel = "6.1.0";
  return facts;
}

TEST(ExplainDenialTest, NamesTheSysctlAndItsValue) {
  DenialFacts denied = facts(EPERM);
  denied.sysctl_disabled = 2;
  denied.seccomp_active = true;  // the sysctl denies it in any case
  const Error error = explain_denial(denied);
  EXPECT_EQ(error.code, ErrorCode::kPermission);
  EXPECT_THAT(error.message, AllOf(HasSubstr("kernel.io_uring_disabled is 2"),
                                   HasSubstr("sysctl -w kernel.io_uring_disabled=0")));
}

TEST(ExplainDenialTest, NamesTheGroupWhenOnlyThatMayUseIt) {
  DenialFacts denied = facts(EPERM);
  denied.sysctl_disabled = 1;
  denied.sysctl_group = 977;
  EXPECT_THAT(explain_denial(denied).message, AllOf(HasSubstr("kernel.io_uring_disabled is 1"),
                                                    HasSubstr("kernel.io_uring_group (now 977)")));
}

TEST(ExplainDenialTest, BlamesSeccompWhenASysctlOfOneAllowsThePrivileged) {
  DenialFacts denied = facts(EPERM);
  denied.sysctl_disabled = 1;
  denied.privileged = true;
  denied.seccomp_active = true;
  EXPECT_THAT(explain_denial(denied).message, HasSubstr("seccomp-weir.json"));
}

TEST(ExplainDenialTest, BlamesASecurityModuleWhenNothingElseDeniesIt) {
  EXPECT_THAT(explain_denial(facts(EACCES)).message, HasSubstr("SELinux"));
}

TEST(ExplainDenialTest, NamesTheMemlockLimit) {
  const Error error = explain_denial(facts(ENOMEM));
  EXPECT_EQ(error.code, ErrorCode::kLimit);
  EXPECT_THAT(error.message, AllOf(HasSubstr("65536 bytes"), HasSubstr("LimitMEMLOCK="),
                                   HasSubstr("--ulimit memlock=")));
  DenialFacts unlimited = facts(ENOMEM);
  unlimited.memlock_bytes = UINT64_MAX;
  EXPECT_THAT(explain_denial(unlimited).message, HasSubstr("RLIMIT_MEMLOCK is unlimited"));
}

TEST(ExplainDenialTest, NamesOldKernels) {
  EXPECT_THAT(explain_denial(facts(EINVAL)).message,
              AllOf(HasSubstr("kernel 6.1.0"), HasSubstr("needs Linux 6.1 or newer")));
  EXPECT_THAT(explain_denial(facts(ENOSYS)).message, HasSubstr("has no io_uring"));
}

// From here on the system call fails with the error, as in a container. (The first check of a real
// filter, the architecture, is left out: this program makes native calls only.)
void deny_by_seccomp(unsigned system_call, unsigned os_errno) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | os_errno),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(code), code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(2);
}

class DenialTest : public LoopTest {
 protected:
  static void become_unprivileged() {
    if (geteuid() != 0) return;
    if (setgid(65'534) != 0 || setuid(65'534) != 0) _exit(3);
  }
};

TEST_F(DenialTest, WorksWithoutAFilter) {
  EXPECT_EQ(answer_of_a_child([] {}), "usable");
}

TEST_F(DenialTest, SaysThatSeccompDeniesTheSetup) {
  const std::string answer = answer_of_a_child([] { deny_by_seccomp(SYS_io_uring_setup, EPERM); });
  EXPECT_THAT(answer, AllOf(HasSubstr("io_uring_setup failed"), HasSubstr("a seccomp filter"),
                            HasSubstr("tools/packaging/seccomp-weir.json")));
}

TEST_F(DenialTest, SaysThatSeccompDeniesRegistering) {
  EXPECT_THAT(answer_of_a_child([] { deny_by_seccomp(SYS_io_uring_register, EPERM); }),
              AllOf(HasSubstr("io_uring_register failed"), HasSubstr("a seccomp filter")));
}

TEST_F(DenialTest, SaysThatSeccompDeniesEntering) {
  EXPECT_THAT(answer_of_a_child([] { deny_by_seccomp(SYS_io_uring_enter, EPERM); }),
              AllOf(HasSubstr("io_uring_enter failed"), HasSubstr("a seccomp filter")));
}

TEST_F(DenialTest, SuspectsSeccompBehindAMissingSystemCall) {
  EXPECT_THAT(answer_of_a_child([] { deny_by_seccomp(SYS_io_uring_setup, ENOSYS); }),
              AllOf(HasSubstr("seccomp"), HasSubstr("CONFIG_IO_URING")));
}

void limit_locked_memory(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) _exit(4);
}

TEST_F(DenialTest, SaysThatTheMemlockLimitIsTooSmall) {
  const std::string answer = answer_of_a_child([] {
    limit_locked_memory(0);
    become_unprivileged();
  });
  if (answer == "usable") GTEST_SKIP() << "this kernel does not count rings (6.1 and 6.12 do not)";
  EXPECT_THAT(answer, AllOf(HasSubstr("RLIMIT_MEMLOCK (now 0 bytes"), HasSubstr("LimitMEMLOCK=")));
}

TEST_F(DenialTest, MakesSmallerRingsUnderASmallMemlockLimit) {
  const std::string answer = answer_of_a_child([] {
    limit_locked_memory(256 << 10);
    become_unprivileged();
    MetricRegistry metrics;
    const RingCounters counters{metrics.counter(Metric::kReactorCqOverflow),
                                metrics.counter(Metric::kReactorStaleCompletions),
                                metrics.counter(Metric::kReactorEnterRetries)};
    const auto ring = Ring::create(4096, 16'384, counters);
    if (!ring || (*ring)->entries() < 32) _exit(5);
  });
  EXPECT_EQ(answer, "usable");
}

}  // namespace
}  // namespace weir::reactor
