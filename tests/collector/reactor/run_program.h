// Runs another program, quietly, and waits for it.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

namespace weir::reactor {

// Its exit code; -1 when a signal ended it, 127 when it is not there.
inline int run_program(std::vector<const char*> arguments) {
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDERR_FILENO);
    dup2(null, STDOUT_FILENO);
    execvp(arguments[0], const_cast<char* const*>(arguments.data()));
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Whether strace exists and may trace here (containers often forbid it).
inline bool can_trace() { return run_program({"strace", "-o", "/dev/null", "true"}) == 0; }

}  // namespace weir::reactor
