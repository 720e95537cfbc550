// The command line: every verb of `weir`. Verbs that need more than options, storage tools and the
// admin API come from the composition root as hooks.
// Thread: the main thread. Exit codes: 0 done, 1 failed, 2 wrong usage.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "collector/options/options.h"

namespace weir::cli {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Whether io_uring works here, in words for a person.
struct IoUringCheck {
  bool usable = false;
  std::string detail;  // what denies it and how to allow it
  std::string features;
};

struct Hooks {
  // Runs the server until it is told to stop; returns the exit code. The sources are kept for
  // reloads.
  std::function<int(const options::Sources& sources, options::Options loaded)> serve;
  std::function<IoUringCheck()> probe_io_uring;
  // What components find wrong with options beyond the table's own checks (a pattern that does not
  // compile); appended to `weir check`'s list and refused by serve.
  std::function<void(const options::Options& options, std::vector<options::Problem>& problems)>
      check_components;
};

int run(int argc, char** argv, const Hooks& hooks);

}  // namespace weir::cli
