// weir config print|docs: the effective options, and the generated documentation.
#include "collector/cli/verbs.h"
#include "collector/metric_docs.h"
#include "collector/options/print.h"

namespace weir::cli {

void add_config(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("config", "Show the configuration");
  verb->require_subcommand(1);

  auto flags = std::make_shared<OptionFlags>();
  auto show_secrets = std::make_shared<bool>(false);
  CLI::App* show = verb->add_subcommand(
      "print", "Every option with its meaning, unit, default and effective value, as TOML");
  flags->add_to(*show);
  show->add_flag("--show-secrets", *show_secrets, "Print secrets instead of leaving them out");
  add_json_flag(*show, context);
  show->callback([flags, show_secrets, &context] {
    options::Sources sources;
    options::LoadResult result;
    if (!flags->to_sources(&sources)) {
      context.exit_code = kUsage;
    } else if (!load_or_explain(sources, context.hooks, &result)) {
      context.exit_code = kFailed;
    } else {
      print(context.json ? print_json(result.options) + "\n"
                         : print_toml(result.options, *show_secrets));
    }
  });

  auto metrics = std::make_shared<bool>(false);
  CLI::App* docs =
      verb->add_subcommand("docs", "docs/configuration.md as it follows from the table of options");
  docs->add_flag("--metrics", *metrics, "docs/metrics.md, from the table of metrics");
  docs->callback([metrics] { print(*metrics ? metric_docs() : options::configuration_docs()); });
}

}  // namespace weir::cli
