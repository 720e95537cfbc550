#include "collector/cli/cli.h"

#include <cstdio>

#include "collector/cli/man_page.h"
#include "collector/cli/verbs.h"
#include "collector/version.h"

namespace weir::cli {
namespace {

constexpr std::string_view kManTail = R"(.SH EXIT STATUS
0 done, 1 failed, 2 wrong usage.
.SH ENVIRONMENT
.TP
\fBWEIR_SERVER\fR
Admin listener of the running server, as \fB\-\-server\fR.
.TP
\fBWEIR_TOKEN\fR
Bearer token for it.
.TP
\fBWEIR_<SECTION>__<NAME>\fR
Any option of the configuration, see weir.toml(5).
.SH SEE ALSO
weir.toml(5), weir\-bench(1)
)";

}  // namespace

bool print(std::string_view text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  return written == text.size() && std::fflush(stdout) == 0;
}

void complain(std::string_view text) {
  std::fprintf(stderr, "weir: %.*s\n", static_cast<int>(text.size()), text.data());
}

void add_json_flag(CLI::App& verb, Context& context) {
  verb.add_flag("--json", context.json, "Write JSON instead of text");
}

int run(int argc, char** argv, const Hooks& hooks) {
  Context context{hooks};
  CLI::App app("Weir, an edge event collector: every event is durable before it is acknowledged.",
               "weir");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every verb");
  app.footer(
      "Exit codes: 0 done, 1 failed, 2 wrong usage. Every option of the configuration can "
      "also be an environment variable, WEIR_<SECTION>__<NAME>; `weir config print` lists "
      "them.");
  add_serve(app, context);
  add_check(app, context);
  add_config(app, context);
  add_status(app, context);
  add_top(app, context);
  add_tail(app, context);
  add_drain(app, context);
  add_event(app, context);
  add_failed(app, context);
  add_consumer(app, context);
  add_replay(app, context);
  add_store(app, context);
  add_version(app, context);
  app.add_flag("--man")->description("Write the manual page, weir(1)");
  if (argc == 2 && argv[1] == std::string_view("--man"))
    return print(man_page(app, {"weir", std::string(version()), "an edge event collector",
                                std::string(kManTail)}))
               ? kDone
               : kFailed;
  const auto named = [&](const CLI::App* verb) { return verb->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(named).empty()) {
    complain(fmt::format("there is no verb \"{}\"; `weir --help` lists them", argv[1]));
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  return context.exit_code;
}

}  // namespace weir::cli
