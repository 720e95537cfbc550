// weir serve: loads the options and hands over to the composition root.
#include "collector/cli/verbs.h"

namespace weir::cli {

void add_serve(CLI::App& app, Context& context) {
  auto flags = std::make_shared<OptionFlags>();
  CLI::App* verb = app.add_subcommand("serve", "Collect events until SIGTERM");
  flags->add_to(*verb);
  verb->callback([flags, &context] {
    options::Sources sources;
    options::LoadResult result;
    if (!flags->to_sources(&sources)) {
      context.exit_code = kUsage;
    } else if (!load_or_explain(sources, context.hooks, &result)) {
      context.exit_code = kFailed;
    } else {
      context.exit_code = context.hooks.serve(sources, std::move(result.options));
    }
  });
}

}  // namespace weir::cli
