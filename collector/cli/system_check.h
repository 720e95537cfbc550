// weir check --system: what the machine must allow, measured.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "collector/cli/cli.h"

namespace weir::cli {

struct SystemRow {
  enum class State { kOk, kWarn, kFail };
  std::string name;
  State state = State::kOk;
  std::string value;
  std::string advice;  // what to do, empty when all is well
};
std::string_view state_name(SystemRow::State state);  // "ok", "warn", "fail"

// Takes a few hundred milliseconds: it syncs a small file in the data directory (or in its nearest
// existing parent) and removes it again.
std::vector<SystemRow> check_system(const options::Options& options, const Hooks& hooks);

}  // namespace weir::cli
