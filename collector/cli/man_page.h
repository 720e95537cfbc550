// A manual page out of what the command line parser knows: verbs, options, defaults, environment.
// Thread: the main thread.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace weir::cli {

struct ManPage {
  std::string name;     // "weir"
  std::string version;  // of the program
  std::string summary;  // one line, for NAME
  std::string tail;     // ready roff behind the options: EXIT STATUS, FILES, SEE ALSO
};
std::string man_page(const CLI::App& app, const ManPage& page);

}  // namespace weir::cli
