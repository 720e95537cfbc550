// weir tail: events as they come in, also those that are rejected. Thread: the main thread.
#include "collector/cli/client.h"

namespace weir::cli {
namespace {

struct Flags {
  ClientFlags client;
  std::string tenant;
  std::string name;
  std::string source;
  std::string outcome;
  uint64_t count = 0;
};

int tail(const Flags& flags, bool json) {
  std::string path = fmt::format("/api/v1/tail?format={}", json ? "json" : "text");
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) path += fmt::format("&{}={}", key, HttpClient::escape(value));
  };
  add("tenant", flags.tenant);
  add("name", flags.name);
  add("source", flags.source);
  add("outcome", flags.outcome);
  HttpClient client = flags.client.client();
  uint64_t shown = 0;
  HttpClient::Request request{"GET", path, "", "text/event-stream"};
  request.on_line = [&](std::string_view line) {
    if (line == "event: skipped")
      complain("some events were skipped: this end reads too slowly; narrow the filter");
    if (!line.starts_with("data: ")) return true;
    line.remove_prefix(6);
    if (line.empty()) return true;
    return print(std::string(line) + "\n") && ++shown != flags.count;
  };
  HttpAnswer answer;
  if (!fetch(client, request, &answer)) return kFailed;
  if (flags.count != 0 && shown == flags.count) return kDone;
  complain("the server has ended the stream");
  return kFailed;
}

}  // namespace

void add_tail(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "tail", "Events as they come in, stored, repeated or rejected; a sample under load");
  flags->client.add_to(*verb);
  add_json_flag(*verb, context);
  verb->add_option("--tenant", flags->tenant, "Only of this tenant");
  verb->add_option("--name", flags->name, "Only events of this name");
  verb->add_option("--source", flags->source, "Only over this protocol, for example native");
  verb->add_option("--outcome", flags->outcome, "Only these")
      ->check(CLI::IsMember({"stored", "duplicate", "rejected"}));
  verb->add_option("-n,--count", flags->count, "End after so many; 0: never")
      ->capture_default_str();
  verb->callback([flags, &context] { context.exit_code = tail(*flags, context.json); });
}

}  // namespace weir::cli
