// weir check: is the configuration right, and is the machine ready?
#include "collector/cli/system_check.h"
#include "collector/cli/verbs.h"
#include "collector/json_writer.h"

namespace weir::cli {
namespace {

void write_problems(JsonWriter& json, const std::vector<options::Problem>& problems) {
  json.key("problems").begin_array();
  for (const options::Problem& problem : problems) {
    json.begin_object().field("origin", problem.origin.text).field("file", problem.origin.file);
    json.field("line", problem.origin.line).field("column", problem.origin.column);
    json.field("option", problem.path).field("message", problem.message);
    json.field("hint", problem.hint).end_object();
  }
  json.end_array();
}

std::string render_json(const options::LoadResult& result, const std::vector<SystemRow>& rows,
                        bool ok) {
  JsonWriter json;
  json.begin_object().field("ok", ok);
  write_problems(json, result.problems);
  json.key("system").begin_array();
  for (const SystemRow& row : rows) {
    json.begin_object().field("name", row.name).field("state", state_name(row.state));
    json.field("value", row.value).field("advice", row.advice).end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

std::string render_text(const options::LoadResult& result, const std::vector<SystemRow>& rows) {
  std::string out;
  for (const options::Problem& problem : result.problems) out += problem_text(problem) + "\n";
  if (result.ok()) out += "configuration: ok\n";
  for (const SystemRow& row : rows) {
    out += fmt::format("{:<5} {:<18} {}\n", state_name(row.state), row.name, row.value);
    if (!row.advice.empty()) out += fmt::format("      {:<18} {}\n", "", row.advice);
  }
  return out;
}

}  // namespace

void add_check(CLI::App& app, Context& context) {
  auto flags = std::make_shared<OptionFlags>();
  auto system = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand(
      "check", "Check the configuration, with file, line and hint; --system: also the machine");
  flags->add_to(*verb);
  verb->add_flag("--system", *system,
                 "Check kernel, io_uring, memlock, open files and measure a sync of the data "
                 "directory");
  add_json_flag(*verb, context);
  verb->callback([flags, system, &context] {
    options::Sources sources;
    if (!flags->to_sources(&sources)) {
      context.exit_code = kUsage;
      return;
    }
    const options::LoadResult result = load_and_check(sources, context.hooks);
    std::vector<SystemRow> rows;
    if (*system) rows = check_system(result.options, context.hooks);
    bool ok = result.ok();
    for (const SystemRow& row : rows) ok = ok && row.state != SystemRow::State::kFail;
    print(context.json ? render_json(result, rows, ok) : render_text(result, rows));
    if (!ok) context.exit_code = kFailed;
  });
}

}  // namespace weir::cli
