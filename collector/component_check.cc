// The components' own checks of the configuration (patterns that do not compile, origins that are
// none), reported at the setting that is at fault. Thread: start-up and reload.
#include "collector/component_check.h"

namespace weir {
namespace {

using event::KeyOptions;

// Which option of the key is at fault: the one without which the key is fine.
std::string_view faulty_option(const KeyOptions& key) {
  const std::pair<std::string_view, void (*)(KeyOptions&)> blanks[] = {
      {"patterns", [](KeyOptions& k) { k.patterns.clear(); }},
      {"allow", [](KeyOptions& k) { k.allow.clear(); }},
      {"require", [](KeyOptions& k) { k.require.clear(); }},
      {"origins", [](KeyOptions& k) { k.origins.clear(); }},
      {"site_ids", [](KeyOptions& k) { k.site_ids.clear(); }},
      {"tenant", [](KeyOptions& k) { k.tenant = "default"; }},
  };
  for (const auto& [name, blank] : blanks) {
    KeyOptions copy = key;
    blank(copy);
    if (event::KeyTable::build({copy})) return name;
  }
  return "key";
}

void add(const options::Options& options, std::string path, std::string message,
         std::vector<options::Problem>& problems) {
  options::Problem problem;
  for (const options::EffectiveSetting& setting : options.settings)
    if (setting.path() == path) problem.origin = setting.origin;
  problem.path = std::move(path);
  problem.message = std::move(message);
  problems.push_back(std::move(problem));
}

}  // namespace

void check_components(const options::Options& options, std::vector<options::Problem>& problems) {
  const size_t before = problems.size();
  for (size_t i = 0; i < options.keys.size(); ++i) {
    const auto table = event::KeyTable::build({options.keys[i]});
    if (!table)
      add(options, fmt::format("keys.{}.{}", i, faulty_option(options.keys[i])),
          table.error().message, problems);
  }
  if (problems.size() != before) return;
  if (const auto table = event::KeyTable::build(options.keys); !table)
    add(options, "keys", table.error().message, problems);
}

}  // namespace weir
