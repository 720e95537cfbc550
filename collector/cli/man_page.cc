#include "collector/cli/man_page.h"

#include <fmt/format.h>

#include "storage/base/roff_text.h"

namespace weir::cli {
namespace {

// "-c,--connections INT [64]", as --help shows it.
std::string usage_of(const CLI::Option& option) {
  std::string usage = option.get_name(false, true);
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty())
    usage += " " + option.get_type_name();
  if (!option.get_default_str().empty()) usage += " [" + option.get_default_str() + "]";
  return usage;
}

void append_options(std::string& out, const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty() || option->get_name(false, true) == "-h,--help") continue;
    out += fmt::format(".TP\n\\fB{}\\fR\n{}", roff_text(usage_of(*option)),
                       roff_text(option->get_description()));
    if (!option->get_envname().empty())
      out += fmt::format(" (environment: {})", roff_text(option->get_envname()));
    out += "\n";
  }
}

void append_verbs(std::string& out, const CLI::App& app, const std::string& prefix) {
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name = prefix + " " + verb->get_name();
    const bool leaf = verb->get_subcommands([](const CLI::App*) { return true; }).empty();
    if (leaf) {
      out += fmt::format(".SS \"{}\"\n{}\n", roff_text(name), roff_text(verb->get_description()));
      append_options(out, *verb);
    }
    append_verbs(out, *verb, name);
  }
}

}  // namespace

std::string man_page(const CLI::App& app, const ManPage& page) {
  std::string out = fmt::format(
      ".TH \"{}\" 1 \"\" \"Weir {}\" \"Weir\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n\\fB{}\\fR "
      "[\\fIOPTIONS\\fR]{}\n.SH DESCRIPTION\n{}\n",
      roff_text(page.name), roff_text(page.version), roff_text(page.name), roff_text(page.summary),
      roff_text(page.name),
      app.get_subcommands([](const CLI::App*) { return true; }).empty()
          ? ""
          : " \\fICOMMAND\\fR [\\fIOPTIONS\\fR]",
      roff_text(app.get_description()));
  std::string options;
  append_options(options, app);
  if (!options.empty()) out += ".SH OPTIONS\n" + options;
  std::string verbs;
  append_verbs(verbs, app, page.name);
  if (!verbs.empty()) out += ".SH COMMANDS\n" + verbs;
  return out + page.tail;
}

}  // namespace weir::cli
