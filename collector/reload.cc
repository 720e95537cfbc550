#include "collector/reload.h"

#include <algorithm>
#include <map>

#include "collector/options/table.h"

namespace weir {
namespace {

std::map<std::string, const options::EffectiveSetting*> by_path(const options::Options& options) {
  std::map<std::string, const options::EffectiveSetting*> out;
  for (const options::EffectiveSetting& setting : options.settings) out[setting.path()] = &setting;
  return out;
}

void note(const options::OptionRow& row, const std::string& path, ReloadPlan& plan) {
  // Entries of lists are named as a whole: numbers shift when one is taken out.
  const bool array = options::find_section(row.section)->array;
  const std::string name = array && row.reloadable() ? std::string(row.section) : path;
  auto& list = row.reloadable() ? plan.changed : plan.refused;
  if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
}

}  // namespace

ReloadPlan plan_reload(const options::Options& running, const options::Options& wanted) {
  ReloadPlan plan;
  const auto before = by_path(running);
  const auto after = by_path(wanted);
  for (const auto& [path, setting] : after) {
    const auto found = before.find(path);
    if (found == before.end() || !(found->second->value == setting->value))
      note(*setting->row, path, plan);
  }
  for (const auto& [path, setting] : before)
    if (!after.contains(path)) note(*setting->row, path, plan);
  return plan;
}

}  // namespace weir
