// Live progress: one line a second, rewritten in place on a terminal.
// Thread: belongs to the one that prints.
#pragma once

#include <cstdint>
#include <string>

#include "bench/load/tally.h"

namespace weir::bench {

struct Moment {
  double passed_seconds = 0;
  double total_seconds = 0;
  bool warming_up = false;
  double server_cores = -1;  // negative: not visible
  double load_cores = 0;
  uint64_t errors_so_far = 0;
  Tally second;  // the last complete one
};

// One line without its end.
std::string progress_line(const Moment& moment);

class Progress {
 public:
  // terminal: rewrite the line; else one line each.
  explicit Progress(bool terminal) : terminal_(terminal) {}
  ~Progress();
  void show(const Moment& moment);

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace weir::bench
