#include "collector/reload.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "collector/options/table.h"

namespace weir {
namespace {

using options::EffectiveSetting;

// Which entry of which section, and the option's place in the table.
struct At {
  std::string section;
  std::string entry;  // what tells it from the others; empty in plain sections
  const options::OptionRow* row = nullptr;
  friend bool operator<(const At& a, const At& b) {
    return std::tie(a.section, a.entry, a.row) < std::tie(b.section, b.entry, b.row);
  }
};
struct Found {
  const EffectiveSetting* setting = nullptr;
  std::string shown;  // the entry, without secrets
};

std::map<At, Found> by_place(const options::Options& options) {
  std::map<std::pair<std::string, int>, std::string> names;
  std::map<std::pair<std::string, int>, std::string> keys;
  for (const EffectiveSetting& setting : options.settings) {
    const std::pair place{std::string(setting.row->section), setting.index};
    if (setting.row->name == "name") names[place] = setting.value.text;
    if (setting.row->name == "key") keys[place] = setting.value.text;
  }
  std::map<At, Found> out;
  for (const EffectiveSetting& setting : options.settings) {
    At at{std::string(setting.row->section), {}, setting.row};
    Found found{&setting, {}};
    if (setting.index >= 0) {
      const std::pair place{at.section, setting.index};
      const std::string& name = names[place];
      found.shown = name.empty() ? std::to_string(setting.index) : name;
      at.entry = keys.contains(place) ? keys[place] : found.shown;
    }
    out[at] = found;
  }
  return out;
}

std::string shown_value(const EffectiveSetting& setting) {
  return options::shown_value(*setting.row, setting.value);
}

class Planner {
 public:
  void compare(const At& at, const Found* before, const Found* after) {
    if (before == nullptr && after == nullptr) return;  // nowhere: nothing to compare
    if (before != nullptr && after != nullptr && before->setting->value == after->setting->value)
      return;
    const Found& there = after != nullptr ? *after : *before;
    if (!at.row->reloadable()) return add(plan_.refused, there.setting->path());
    const bool entry = !at.entry.empty();
    if (entry && before != nullptr && after != nullptr && at.section == "destinations")
      plan_.destinations.insert(there.shown);
    add(plan_.changed, entry ? at.section : there.setting->path());
    // Of an entry that comes or goes only what somebody wrote.
    if ((before == nullptr || after == nullptr) && there.setting->origin.text.empty()) return;
    plan_.changes.push_back({entry ? fmt::format("{}.{}.{}", at.section, there.shown, at.row->name)
                                   : there.setting->path(),
                             before == nullptr ? "" : shown_value(*before->setting),
                             after == nullptr ? "" : shown_value(*after->setting)});
  }
  ReloadPlan take() { return std::move(plan_); }

 private:
  static void add(std::vector<std::string>& list, const std::string& name) {
    if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
  }
  ReloadPlan plan_;
};

}  // namespace

ReloadPlan plan_reload(const options::Options& running, const options::Options& wanted) {
  Planner planner;
  const auto before = by_place(running);
  const auto after = by_place(wanted);
  for (const auto& [at, found] : after) {
    const auto old = before.find(at);
    planner.compare(at, old == before.end() ? nullptr : &old->second, &found);
  }
  for (const auto& [at, found] : before)
    if (!after.contains(at)) planner.compare(at, &found, nullptr);
  return planner.take();
}

}  // namespace weir
