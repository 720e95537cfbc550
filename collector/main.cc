// The composition root: hands the command line what it must not know itself.
#include "collector/cli/cli.h"
#include "collector/component_check.h"
#include "collector/reactor/loop.h"
#include "collector/serve.h"

int main(int argc, char** argv) {
  weir::cli::Hooks hooks;
  hooks.serve = [](const weir::options::Sources& sources, weir::options::Options options) {
    return weir::serve(sources, std::move(options));
  };
  hooks.probe_io_uring = [] {
    weir::reactor::IoUringReport report = weir::reactor::probe_io_uring();
    return weir::cli::IoUringCheck{report.usable, std::move(report.detail),
                                   std::move(report.features)};
  };
  hooks.check_components = weir::check_components;
  return weir::cli::run(argc, argv, hooks);
}
