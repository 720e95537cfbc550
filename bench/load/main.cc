// weir-bench: a load generator for event collectors. See docs/benchmarking.md.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "bench/load/command_line.h"
#include "bench/load/result_file.h"
#include "bench/load/run.h"
#include "collector/cli/man_page.h"

namespace weir::bench {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

std::atomic<bool> g_stop{false};

int complain(const Error& error, int code) {
  std::fprintf(stderr, "weir-bench: %s\n", error.message.c_str());
  return code;
}

Status write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  if (path == "-") {
    std::cout << text;
    return {};
  }
  std::ofstream out(path);
  out << text;
  out.close();
  if (!out) return fail_errno(errno, "cannot write {}", path);
  return {};
}

int run(CommandLine& line) {
  if (line.list_shapes) {
    std::cout << shapes_text();
    return kDone;
  }
  if (const Status status = complete(line, isatty(STDERR_FILENO) != 0); !status)
    return complain(status.error(), kUsage);
  std::unique_ptr<Verifier> verifier;
  if (!line.verify.admin_url.empty()) {
    if (const char* token = std::getenv("WEIR_TOKEN"); token != nullptr) line.verify.token = token;
    auto started = Verifier::start(line.verify, line.load);
    if (!started) return complain(started.error(), kFailed);
    verifier = std::move(*started);
  }
  auto outcome = run_load(line.load, line.settings, &g_stop);
  if (!outcome) return complain(outcome.error(), kFailed);
  RunResult& result = outcome->result;
  if (verifier != nullptr) {
    auto verified = verifier->finish(outcome->acknowledged, &g_stop);
    if (!verified) return complain(verified.error(), kFailed);
    result.verification = *verified;
    verifier.reset();
  }
  std::cerr << result_text(result);
  for (const Status& status : {write_file(line.json_file, result_json(result)),
                               write_file(line.html_file, report_html({result}))})
    if (!status) return complain(status.error(), kFailed);
  int code = kDone;
  if (result.total.requests == 0) {
    std::fprintf(stderr, "weir-bench: not one request was answered\n");
    code = kFailed;
  }
  if (result.verification.missing + result.verification.repeated > 0) {
    std::fprintf(stderr, "weir-bench: acknowledged events are missing or repeated\n");
    code = kFailed;
  }
  for (const FailRule& rule : line.rules) {
    const auto violated = violates(result, rule);
    if (!violated) {
      code = complain(violated.error(), kFailed);
    } else if (*violated) {
      std::fprintf(stderr, "weir-bench: failed: %s\n", rule.text.c_str());
      code = kFailed;
    }
  }
  return code;
}

// merge: one result of several. compare: several side by side.
struct FilesCommand {
  CLI::App* app = nullptr;
  std::vector<std::string> files;
  std::string json_file;
  std::string html_file;
};

int with_files(const FilesCommand& command, bool merge) {
  std::vector<RunResult> results;
  for (const std::string& file : command.files) {
    auto result = read_result(file);
    if (!result) return complain(result.error(), kFailed);
    results.push_back(std::move(*result));
  }
  if (merge) {
    for (size_t i = 1; i < results.size(); ++i)
      if (results[i].interval_seconds != results[0].interval_seconds)
        return complain({ErrorCode::kInvalidArgument, 0,
                         command.files[i] + " and " + command.files[0] +
                             " ran for different times, so their intervals do not match"},
                        kUsage);
    results = {merge_results(results)};
    std::cerr << result_text(results.front());
    if (const Status status = write_file(command.json_file, result_json(results.front())); !status)
      return complain(status.error(), kFailed);
  } else {
    std::cerr << comparison_text(results);
  }
  if (const Status status = write_file(command.html_file, report_html(results)); !status)
    return complain(status.error(), kFailed);
  return kDone;
}

void declare_files(CLI::App& app, FilesCommand& command, const char* name, const char* help) {
  command.app = app.add_subcommand(name, help);
  command.app->add_option("files", command.files, "Results written by --json")->required();
  command.app->add_option("--html", command.html_file, "Write the report to this file");
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
  std::signal(SIGINT, [](int) { weir::bench::g_stop = true; });
  std::signal(SIGTERM, [](int) { weir::bench::g_stop = true; });
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Load generator for event collectors: closed or open loop, every answer checked");
  weir::bench::CommandLine line;
  weir::bench::declare(app, line);
  weir::bench::FilesCommand merge;
  weir::bench::FilesCommand compare;
  weir::bench::declare_files(app, merge, "merge", "Add up the results of several load hosts");
  merge.app->add_option("--json", merge.json_file, "Write the merged result to this file");
  weir::bench::declare_files(app, compare, "compare", "Show several results side by side");
  app.add_flag("--man")->description("Write the manual page, weir-bench(1)");
  if (argc == 2 && argv[1] == std::string_view("--man")) {
    std::cout << weir::cli::man_page(
        app, {"weir-bench", WEIR_VERSION, "load generator for event collectors",
              ".SH EXIT STATUS\n0 done, 1 failed or a \\-\\-fail\\-if rule was violated, 2 wrong "
              "usage.\n.SH SEE ALSO\nweir(1)\n"});
    return 0;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? weir::bench::kDone : weir::bench::kUsage;
  }
  if (merge.app->parsed()) return weir::bench::with_files(merge, true);
  if (compare.app->parsed()) return weir::bench::with_files(compare, false);
  return weir::bench::run(line);
}
