// weir failed: list, expired, show, edit, requeue, discard, export. The server renders both text
// and JSON; this only asks and prints. Thread: the main thread.
#include <charconv>
#include <fstream>
#include <iostream>
#include <iterator>

#include "collector/cli/client.h"

namespace weir::cli {
namespace {

struct FilterFlags {
  std::string destination;
  std::string reason;
  std::string tenant;
  std::string name;
  std::string event;
  std::string since;
  std::string until;
  uint64_t after = 0;
  unsigned limit = 100;

  void add_to(CLI::App& verb, bool pages) {
    verb.add_option("--destination", destination, "Only of this destination");
    verb.add_option("--reason", reason, "Only with this reason, for example http_400");
    verb.add_option("--tenant", tenant, "Only of this tenant");
    verb.add_option("--name", name, "Only events of this name");
    verb.add_option("--event", event, "Only the event with this id");
    verb.add_option("--since", since, "Failed at or after: a time, or 2h for two hours ago");
    verb.add_option("--until", until, "Failed before");
    if (!pages) return;
    verb.add_option("--after", after, "Go on behind this id");
    verb.add_option("--limit", limit, "At most so many")->capture_default_str();
  }
  std::string query(uint64_t after_id, unsigned count) const {
    std::string out = fmt::format("?after={}&limit={}", after_id, count);
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) out += fmt::format("&{}={}", key, HttpClient::escape(value));
    };
    add("destination", destination);
    add("reason", reason);
    add("tenant", tenant);
    add("name", name);
    add("event", event);
    add("since", since);
    add("until", until);
    return out;
  }
};

struct FailedFlags {
  ClientFlags client;
  FilterFlags filter;
  uint64_t id = 0;
  bool all = false;
  bool expired = false;
  bool raw = false;
  std::string format = "ndjson";
  std::string file;
};

CLI::App* add_failed_verb(CLI::App& parent, Context& context, FailedFlags& flags, const char* name,
                          const char* help) {
  CLI::App* verb = parent.add_subcommand(name, help);
  flags.client.add_to(*verb);
  add_json_flag(*verb, context);
  return verb;
}

int export_failed(const FailedFlags& flags) {
  HttpClient client = flags.client.client();
  uint64_t after = flags.filter.after;
  for (;;) {
    HttpAnswer answer;
    const int code = ask(client,
                         {"GET",
                          "/api/v1/failed/export" + flags.filter.query(after, 500) +
                              "&format=" + flags.format + (flags.raw ? "&raw=1" : ""),
                          "", ""},
                         &answer);
    const auto next = answer.headers.find("weir-next");
    if (code != kDone || next == answer.headers.end()) return code;
    const std::string& text = next->second;
    std::from_chars(text.data(), text.data() + text.size(), after);
  }
}

int edit_failed(const FailedFlags& flags) {
  std::string text;
  if (flags.file.empty() || flags.file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream file(flags.file, std::ios::binary);
    if (!file) {
      complain(fmt::format("cannot read {}: {}", flags.file, std::strerror(errno)));
      return kFailed;
    }
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  HttpClient client = flags.client.client();
  return ask(client, {"PUT", fmt::format("/api/v1/failed/{}", flags.id), std::move(text), ""});
}

// requeue and discard: one id, or --all that match the filter; requeue also --expired ranges.
void add_failed_change(CLI::App& parent, Context& context, FailedFlags& flags,
                       const std::string& name, const char* help) {
  CLI::App* verb = add_failed_verb(parent, context, flags, name.c_str(), help);
  verb->add_option("id", flags.id, "The failed event, as `weir failed list` shows it");
  verb->add_flag("--all", flags.all, "All that match the filter");
  flags.filter.add_to(*verb, false);
  if (name == "requeue")
    verb->add_flag("--expired", flags.expired,
                   "Expired ranges of --destination and --reason, while their events are on disk");
  verb->callback([&flags, &context, verb, name] {
    const int ways =
        (flags.all ? 1 : 0) + (flags.expired ? 1 : 0) + (verb->count("id") != 0 ? 1 : 0);
    if (ways != 1) {
      complain(fmt::format("failed {}: give an id, or --all{}", name,
                           name == "requeue" ? ", or --expired" : ""));
      context.exit_code = kUsage;
      return;
    }
    HttpClient client = flags.client.client();
    std::string path = fmt::format("/api/v1/failed/{}/{}", flags.id, name);
    if (flags.all) path = fmt::format("/api/v1/failed/{}{}", name, flags.filter.query(0, 100));
    if (flags.expired) path = "/api/v1/failed/expired/requeue" + flags.filter.query(0, 100);
    context.exit_code = ask(client, {"POST", path, "", ""});
  });
}

}  // namespace

void add_failed(CLI::App& app, Context& context) {
  CLI::App* failed = app.add_subcommand("failed", "Events a destination would not take");
  failed->require_subcommand(1);
  // Lives as long as the callbacks.
  auto owner = std::make_shared<FailedFlags>();
  FailedFlags& flags = *owner;
  failed->parse_complete_callback([owner] {});

  CLI::App* list = add_failed_verb(*failed, context, flags, "list", "List them");
  flags.filter.add_to(*list, true);
  list->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code =
        ask(client,
            {"GET", "/api/v1/failed" + flags.filter.query(flags.filter.after, flags.filter.limit),
             "", context.json ? "" : kText});
  });

  CLI::App* expired = add_failed_verb(
      *failed, context, flags, "expired",
      "Ranges given up for age, size or the retry window, and whether they can be requeued");
  flags.filter.add_to(*expired, false);
  expired->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code = ask(client, {"GET", "/api/v1/failed/expired" + flags.filter.query(0, 100),
                                     "", context.json ? "" : kText});
  });

  CLI::App* show = add_failed_verb(*failed, context, flags, "show", "One with its event and error");
  show->add_option("id", flags.id, "As `weir failed list` shows it")->required();
  show->callback([&flags, &context] {
    HttpClient client = flags.client.client();
    context.exit_code = ask(
        client, {"GET", fmt::format("/api/v1/failed/{}", flags.id), "", context.json ? "" : kText});
  });

  CLI::App* edit =
      add_failed_verb(*failed, context, flags, "edit",
                      "Replace the event's JSON object, from --file or standard input");
  edit->add_option("id", flags.id, "As `weir failed list` shows it")->required();
  edit->add_option("--file", flags.file, "The new object; default standard input");
  edit->callback([&flags, &context] { context.exit_code = edit_failed(flags); });

  add_failed_change(*failed, context, flags, "requeue", "Send again, under the same id");
  add_failed_change(*failed, context, flags, "discard", "Give up for good");

  CLI::App* dump = add_failed_verb(*failed, context, flags, "export", "All of them, one a line");
  flags.filter.add_to(*dump, false);
  dump->add_flag("--raw", flags.raw, "Only the clients' own objects");
  dump->add_option("--format", flags.format, "ndjson, or csv for a spreadsheet")
      ->check(CLI::IsMember({"ndjson", "csv"}))
      ->capture_default_str();
  dump->callback([&flags, &context] { context.exit_code = export_failed(flags); });
}

}  // namespace weir::cli
