// Questions to a running server: status, event. The server renders both text and JSON; this only
// asks and prints. Thread: the main thread.
#include "collector/cli/client.h"

namespace weir::cli {

void add_status(CLI::App& app, Context& context) {
  auto flags = std::make_shared<ClientFlags>();
  CLI::App* verb = app.add_subcommand(
      "status", "Live counters of a running server: pending, sent, failed, per destination");
  flags->add_to(*verb);
  add_json_flag(*verb, context);
  verb->callback([flags, &context] {
    HttpClient client = flags->client();
    context.exit_code =
        ask(client, {"GET", "/api/v1/live-counters", "", context.json ? "" : kText});
  });
}

void add_event(CLI::App& app, Context& context) {
  struct Flags {
    ClientFlags client;
    std::string id;
    std::string tenant;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "event", "What became of one event: received, committed, sent where, with which attempts");
  flags->client.add_to(*verb);
  add_json_flag(*verb, context);
  verb->add_option("id", flags->id, "The event's id, or its position: <shard>-<number>")
      ->required();
  verb->add_option("--tenant", flags->tenant, "Only this tenant's; default all of that id");
  verb->callback([flags, &context] {
    HttpClient client = flags->client.client();
    std::string path = "/api/v1/events/" + HttpClient::escape(flags->id);
    if (!flags->tenant.empty()) path += "?tenant=" + HttpClient::escape(flags->tenant);
    context.exit_code = ask(client, {"GET", path, "", context.json ? "" : kText});
  });
}

}  // namespace weir::cli
