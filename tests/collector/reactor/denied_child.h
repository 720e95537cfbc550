// Runs the reactor's start-up in a child process in which something was denied first.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>

#include "collector/reactor/loop.h"
#include "storage/base/metrics.h"

namespace weir::reactor {

// What probe_io_uring() and Loop::create() say in a child process after `deny`; "usable" when they
// work. Both must answer within a second.
inline std::string answer_of_a_child(const std::function<void()>& deny) {
  int report_pipe[2];
  EXPECT_EQ(pipe(report_pipe), 0);
  const pid_t child = fork();
  if (child == 0) {
    deny();
    const auto begin = std::chrono::steady_clock::now();
    std::string answer = probe_io_uring().detail;
    MetricRegistry metrics;
    auto loop = Loop::create(LoopOptions{}, metrics);
    if (loop)
      answer = answer.empty() ? "usable" : "the probe differs: " + answer;
    else if (loop.error().message != answer)
      answer = "create() differs: " + loop.error().message + " / " + answer;
    if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(1)) answer = "too slow";
    const ssize_t written = ::write(report_pipe[1], answer.data(), answer.size());
    _exit(written == static_cast<ssize_t>(answer.size()) ? 0 : 1);
  }
  close(report_pipe[1]);
  std::string answer;
  char part[512];
  for (ssize_t got; (got = ::read(report_pipe[0], part, sizeof part)) > 0;)
    answer.append(part, static_cast<size_t>(got));
  close(report_pipe[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child status " << status;
  return answer;
}

}  // namespace weir::reactor
