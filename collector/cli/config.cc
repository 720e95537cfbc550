// weir config print|metrics: the effective options, what is exported, and both as documentation.
// Thread: the main thread.
#include "collector/cli/verbs.h"
#include "collector/metric_docs.h"
#include "collector/options/print.h"
#include "collector/version.h"

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
  auto markdown = std::make_shared<bool>(false);
  show->add_flag("--markdown", *markdown, "docs/configuration.md: the table, not the values");
  auto man = std::make_shared<bool>(false);
  show->add_flag("--man", *man, "The manual page weir.toml(5): the table, not the values");
  add_json_flag(*show, context);
  show->callback([flags, show_secrets, markdown, man, &context] {
    if (*man) {
      print(options::configuration_man(version()));
      return;
    }
    if (*markdown) {
      print(options::configuration_docs());
      return;
    }
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

  CLI::App* metrics = verb->add_subcommand("metrics", "Every metric with its type and meaning");
  auto metrics_markdown = std::make_shared<bool>(false);
  metrics->add_flag("--markdown", *metrics_markdown, "docs/metrics.md");
  metrics->callback(
      [metrics_markdown] { print(*metrics_markdown ? metric_docs() : metric_list()); });
}

}  // namespace weir::cli
