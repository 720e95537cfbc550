// Pull consumers, and replays, of a running server. The server renders both text and JSON; this
// only asks and prints. Thread: the main thread.
#include "collector/cli/client.h"
#include "collector/json_writer.h"
#include "collector/options/value.h"

namespace weir::cli {
namespace {

constexpr const char* kPath = "/api/v1/consumers";
constexpr const char* kPlaces =
    "earliest, latest, a time (RFC 3339, or 2h for two hours ago), or a seq per store shard (0-17 "
    "or 0-17,1-20)";

struct ConsumerFlags {
  ClientFlags client;
  std::string name;
  std::string to;
  std::string from = "earliest";
  std::string lease;
  std::string max_idle;
  int64_t max_deliveries = -1;
  bool sandbox = false;
  bool temporary = false;
  std::vector<std::string> tenants;
  std::vector<std::string> names;
  std::vector<std::string> sources;
};

CLI::App* add_consumer_verb(CLI::App& parent, Context& context, ConsumerFlags& flags,
                            const char* name, const char* help) {
  CLI::App* verb = parent.add_subcommand(name, help);
  flags.client.add_to(*verb);
  add_json_flag(*verb, context);
  return verb;
}

// Adds "name": seconds for a duration like "10m"; false after a message.
bool add_seconds(JsonWriter& json, const char* flag, std::string_view name,
                 const std::string& text) {
  if (text.empty()) return true;
  const auto ms = options::parse_duration_ms(text);
  if (!ms) {
    complain(fmt::format("{}: {}", flag, ms.error().message));
    return false;
  }
  json.field(name, *ms / 1000);
  return true;
}

void add_texts(JsonWriter& json, std::string_view name, const std::vector<std::string>& texts) {
  json.key(name).begin_array();
  for (const std::string& text : texts) json.string(text);
  json.end_array();
}

int create(const ConsumerFlags& flags) {
  JsonWriter json;
  json.begin_object().field("name", flags.name).field("from", flags.from);
  if (!add_seconds(json, "--lease", "lease_seconds", flags.lease) ||
      !add_seconds(json, "--max-idle", "max_idle_seconds", flags.max_idle))
    return kUsage;
  if (flags.max_deliveries >= 0) json.field("max_deliveries", flags.max_deliveries);
  json.field("sandbox", flags.sandbox).field("temporary", flags.temporary);
  json.key("filter").begin_object();
  add_texts(json, "tenants", flags.tenants);
  add_texts(json, "names", flags.names);
  add_texts(json, "sources", flags.sources);
  json.end_object().end_object();
  HttpClient client = flags.client.client();
  return ask(client, {"POST", kPath, json.take(), ""});
}

std::string path_of(const ConsumerFlags& flags, std::string_view what = "") {
  return fmt::format("{}/{}{}", kPath, HttpClient::escape(flags.name), what);
}

void add_create(CLI::App& parent, Context& context, ConsumerFlags& flags) {
  CLI::App* verb =
      add_consumer_verb(parent, context, flags, "create", "Make one that is not declared");
  verb->add_option("name", flags.name, "Its name")->required();
  verb->add_option("--from", flags.from, "Where it starts: earliest or latest")
      ->capture_default_str();
  verb->add_option("--lease", flags.lease, "How long a lease is held, default 5m");
  verb->add_option("--max-deliveries", flags.max_deliveries,
                   "Then an event becomes a failed one, default 16; 0: never");
  verb->add_option("--max-idle", flags.max_idle,
                   "Silent for so long it holds back no retention, default 7d; 0s: it always does");
  verb->add_flag("--sandbox", flags.sandbox, "Events of sandbox keys too");
  verb->add_flag("--temporary", flags.temporary, "Delete it once it was silent for --max-idle");
  verb->add_option("--tenant", flags.tenants, "Only events of this tenant; may be repeated");
  verb->add_option("--event", flags.names, "Only events of this name; may be repeated");
  verb->add_option("--source", flags.sources, "Only events of this protocol; may be repeated");
  verb->callback([&flags, &context] { context.exit_code = create(flags); });
}

}  // namespace

void add_consumer(CLI::App& app, Context& context) {
  CLI::App* consumer = app.add_subcommand("consumer", "Pull consumers: who takes events by leases");
  consumer->require_subcommand(1);
  // Lives as long as the callbacks.
  auto owner = std::make_shared<ConsumerFlags>();
  ConsumerFlags& flags = *owner;
  consumer->parse_complete_callback([owner] {});

  CLI::App* list = add_consumer_verb(*consumer, context, flags, "list", "List them");
  list->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code = ask(client, {"GET", kPath, "", context.json ? "" : kText});
  });

  CLI::App* show =
      add_consumer_verb(*consumer, context, flags, "show", "One with its position and leases");
  show->add_option("name", flags.name, "Its name")->required();
  show->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code = ask(client, {"GET", path_of(flags), "", context.json ? "" : kText});
  });

  add_create(*consumer, context, flags);

  CLI::App* seek = add_consumer_verb(*consumer, context, flags, "seek",
                                     "Move it; its leases end, events come again or never");
  seek->add_option("name", flags.name, "Its name")->required();
  seek->add_option("to", flags.to, std::string("Where to: ") + kPlaces)->required();
  seek->callback([&flags, &context] {
    JsonWriter json;
    json.begin_object().field("to", flags.to).end_object();
    HttpClient client = flags.client.client();
    context.exit_code = ask(client, {"POST", path_of(flags, "/seek"), json.take(), ""});
  });

  CLI::App* remove =
      add_consumer_verb(*consumer, context, flags, "delete", "Forget it and its position");
  remove->add_option("name", flags.name, "Its name")->required();
  remove->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code = ask(client, {"DELETE", path_of(flags), "", ""});
  });
}

void add_replay(CLI::App& app, Context& context) {
  struct Flags {
    ClientFlags client;
    std::string destination;
    std::string consumer;
    std::string from;
    std::string to = "latest";
  };
  CLI::App* verb = app.add_subcommand(
      "replay",
      "Send a part of the log to a destination, or hand it to a pull consumer, once more");
  auto flags = std::make_shared<Flags>();
  flags->client.add_to(*verb);
  add_json_flag(*verb, context);
  verb->add_option("--destination", flags->destination, "To which destination");
  verb->add_option("--consumer", flags->consumer, "Or to which consumer");
  verb->add_option("--from", flags->from, std::string("The first event: ") + kPlaces)
      ->default_str("earliest for a consumer");
  verb->add_option("--to", flags->to, "The first event that is not wanted")->capture_default_str();
  verb->callback([flags, &context] {
    if (flags->destination.empty() == flags->consumer.empty()) {
      complain("name a --destination or a --consumer");
      context.exit_code = kUsage;
      return;
    }
    if (flags->from.empty() && flags->consumer.empty()) {
      complain("say --from where; --from earliest sends everything again");
      context.exit_code = kUsage;
      return;
    }
    if (flags->from.empty()) flags->from = "earliest";
    JsonWriter json;
    json.begin_object().field("from", flags->from).field("to", flags->to).end_object();
    HttpClient client = flags->client.client();
    const bool pushed = flags->consumer.empty();
    const std::string path =
        fmt::format("{}/{}/replay", pushed ? "/api/v1/destinations" : kPath,
                    HttpClient::escape(pushed ? flags->destination : flags->consumer));
    context.exit_code = ask(client, {"POST", path, json.take(), ""});
  });
}

}  // namespace weir::cli
