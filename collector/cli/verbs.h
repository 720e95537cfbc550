// The verbs, one file each. Each adds its subcommand to the app; its callback stores the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "collector/cli/cli.h"

namespace weir::cli {

struct Context {
  const Hooks& hooks;
  bool json = false;
  int exit_code = kDone;
};

// --config, --listen, --set …: what serve, check and config print share.
struct OptionFlags {
  std::string config;
  std::string listen;
  std::string admin;
  std::string pull;
  std::string data;
  std::string forward;
  std::string shards;
  std::string node;
  std::vector<std::string> set;

  void add_to(CLI::App& app);
  // False after a message on standard error: a --set without '='.
  bool to_sources(options::Sources* sources) const;
};

// Loads and checks; prints every problem to standard error when there are any.
bool load_or_explain(const options::Sources& sources, const Hooks& hooks,
                     options::LoadResult* result);
options::LoadResult load_and_check(const options::Sources& sources, const Hooks& hooks);

void add_serve(CLI::App& app, Context& context);
void add_check(CLI::App& app, Context& context);
void add_config(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);
void add_status(CLI::App& app, Context& context);
void add_drain(CLI::App& app, Context& context);
void add_event(CLI::App& app, Context& context);
void add_failed(CLI::App& app, Context& context);
void add_consumer(CLI::App& app, Context& context);
void add_replay(CLI::App& app, Context& context);
void add_store(CLI::App& app, Context& context);
void add_tail(CLI::App& app, Context& context);
void add_top(CLI::App& app, Context& context);

void add_json_flag(CLI::App& verb, Context& context);
// Writes to standard output; returns false when it is gone (a closed pipe).
bool print(std::string_view text);
void complain(std::string_view text);  // a line on standard error, behind "weir: "

}  // namespace weir::cli
