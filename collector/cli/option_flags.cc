// The flags that set options, shared by serve, check and config print. Thread: the main thread.
#include "collector/cli/verbs.h"

namespace weir::cli {

void OptionFlags::add_to(CLI::App& app) {
  // A flag that is repeated: the last one counts, so that a script's can be overridden.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("-c,--config", config, "TOML file with the configuration")
      ->envname("WEIR_CONFIG")
      ->type_name("FILE");
  app.add_option("--listen", listen, "Ingest listener, default 127.0.0.1:8080")
      ->type_name("ADDR:PORT");
  app.add_option("--admin", admin, "Admin listener, default 127.0.0.1:9090")
      ->type_name("ADDR:PORT");
  app.add_option("--pull", pull, "Listener for central servers that pull, default none of its own")
      ->type_name("ADDR:PORT");
  app.add_option("--data", data, "Data directory, default ./weir-data")->type_name("DIR");
  app.add_option("--forward", forward, "Send every event to this URL, as destination \"forward\"")
      ->type_name("URL");
  app.add_option("--shards", shards, "Reactors, default one per core")->type_name("N");
  app.add_option("--node", node, "Name of this node, default the host name")->type_name("NAME");
  app.add_option("--set", set, "Any option of the configuration; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

bool OptionFlags::to_sources(options::Sources* sources) const {
  sources->file = config;
  sources->environment = options::process_environment();
  sources->forward_url = forward;
  const auto add = [&](const char* flag, const char* path, const std::string& value) {
    if (!value.empty()) sources->flags.push_back({flag, path, value});
  };
  add("--listen", "server.listen", listen);
  add("--admin", "server.admin", admin);
  add("--pull", "server.pull", pull);
  add("--data", "store.directory", data);
  add("--shards", "server.shards", shards);
  add("--node", "server.node", node);
  for (const std::string& setting : set) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      complain(fmt::format("--set {}: write --set section.key=value", setting));
      return false;
    }
    const std::string path = setting.substr(0, equals);
    sources->flags.push_back({"--set " + path, path, setting.substr(equals + 1)});
  }
  return true;
}

options::LoadResult load_and_check(const options::Sources& sources, const Hooks& hooks) {
  options::LoadResult result = options::load_options(sources);
  if (result.ok() && hooks.check_components)
    hooks.check_components(result.options, result.problems);
  return result;
}

bool load_or_explain(const options::Sources& sources, const Hooks& hooks,
                     options::LoadResult* result) {
  *result = load_and_check(sources, hooks);
  for (const options::Problem& problem : result->problems) complain(problem_text(problem));
  return result->ok();
}

}  // namespace weir::cli
