// weir drain: refuse new events and let the destinations empty the store, before a node is taken
// out. Thread: the main thread.
#include <charconv>
#include <chrono>
#include <thread>

#include "collector/cli/client.h"

namespace weir::cli {
namespace {

constexpr std::chrono::milliseconds kLookEvery{200};

struct Flags {
  ClientFlags client;
  bool until_empty = false;
  bool resume = false;
  double timeout_s = 0;
};

uint64_t pending_of(const HttpAnswer& answer) {
  uint64_t pending = 0;
  const auto found = answer.headers.find("weir-pending");
  if (found != answer.headers.end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), pending);
  return pending;
}

// Asks until nothing is pending; says each time the number has changed.
int wait_until_empty(HttpClient& client, double timeout_s, const std::string& accept,
                     HttpAnswer answer) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  uint64_t told = UINT64_MAX;
  for (;;) {
    const uint64_t pending = pending_of(answer);
    if (pending == 0) return print(answer.body) ? kDone : kFailed;
    if (pending != told) complain(fmt::format("{} events pending", pending));
    told = pending;
    if (timeout_s > 0 && std::chrono::steady_clock::now() >= deadline) {
      print(answer.body);
      complain(fmt::format("not empty after {} s; `weir status` says which destination lags",
                           timeout_s));
      return kFailed;
    }
    std::this_thread::sleep_for(kLookEvery);
    if (!fetch(client, {"GET", "/api/v1/drain", "", accept}, &answer)) return kFailed;
  }
}

int drain(const Flags& flags, const std::string& accept) {
  HttpClient client = flags.client.client();
  HttpAnswer answer;
  const char* path = flags.resume ? "/api/v1/drain/resume" : "/api/v1/drain";
  if (!fetch(client, {"POST", path, "", accept}, &answer)) return kFailed;
  if (flags.until_empty) return wait_until_empty(client, flags.timeout_s, accept, answer);
  return print(answer.body) ? kDone : kFailed;
}

}  // namespace

void add_drain(CLI::App& app, Context& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "drain", "Refuse new events (503) while destinations and consumers take what is there");
  flags->client.add_to(*verb);
  add_json_flag(*verb, context);
  verb->add_flag("--until-empty", flags->until_empty,
                 "Return when nothing is pending any more for any destination or consumer");
  verb->add_option("--timeout", flags->timeout_s, "Seconds to wait at most; 0: as long as it takes")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_flag("--resume", flags->resume, "Accept events again")->excludes("--until-empty");
  verb->callback(
      [flags, &context] { context.exit_code = drain(*flags, context.json ? "" : kText); });
}

}  // namespace weir::cli
