#include "collector/options/relations.h"

#include <algorithm>
#include <set>

#include "collector/options/destination_relations.h"
#include "collector/options/table.h"

namespace weir::options {
namespace {

class Checker {
 public:
  Checker(const Options& options, std::vector<Problem>& problems)
      : options_(options), problems_(problems) {}

  void run() {
    listeners();
    sizes();
    keys();
    lanes();
    tokens();
  }

 private:
  void add(std::string path, std::string message, std::string hint) {
    Problem problem;
    // What is not set has no place of its own: its entry has.
    for (const EffectiveSetting& setting : options_.settings)
      if (setting.path() == path)
        problem.origin = setting.origin.text.empty() ? setting.entry : setting.origin;
    problem.path = std::move(path);
    problem.message = std::move(message);
    problem.hint = std::move(hint);
    problems_.push_back(std::move(problem));
  }

  bool is_set(std::string_view path) const {
    return std::any_of(options_.settings.begin(), options_.settings.end(),
                       [&](const auto& setting) {
                         return setting.path() == path && !setting.origin.text.empty();
                       });
  }

  // `config print` writes every option: only another value than the default says something.
  bool is_changed(std::string_view path) const {
    return std::any_of(options_.settings.begin(), options_.settings.end(),
                       [&](const auto& setting) {
                         if (setting.path() != path || setting.origin.text.empty()) return false;
                         RawValue raw;
                         raw.from_text = true;
                         raw.text = setting.row->effective_default();
                         return to_value(setting.row->type, raw) != setting.value;
                       });
  }

  void listeners() {
    const auto listen = parse_address(options_.server.listen);
    if (!listen) add("server.listen", listen.error().message, "");
    const auto admin = parse_address(options_.server.admin);
    if (!admin) add("server.admin", admin.error().message, "");
    if (admin && !admin->loopback && options_.tokens.empty())
      add("server.admin",
          fmt::format("{} is not on loopback and there is no token, so anybody could administer "
                      "this server",
                      options_.server.admin),
          "add [[tokens]] with a name, a hash and a role, or listen on 127.0.0.1");
    if (!options_.server.pull.empty()) pull_listener();
    if (listen && admin && listen->port != 0 && listen->port == admin->port &&
        listen->ip == admin->ip)
      add("server.admin", "is the same address as server.listen", "give it a port of its own");
    if (options_.server.proxy.proxy_protocol && options_.server.proxy.trusted.empty())
      add("server.proxy_protocol", "needs server.trusted_proxies",
          "name the proxies' address ranges; from anybody else the header is not accepted");
  }

  void pull_listener() {
    const auto pull = parse_address(options_.server.pull);
    if (!pull) return add("server.pull", pull.error().message, "");
    if (!pull->loopback && options_.tokens.empty())
      add("server.pull",
          fmt::format("{} is not on loopback and there is no token, so anybody could take events "
                      "from this server",
                      options_.server.pull),
          "add [[tokens]] with a name, a hash and the role puller, or listen on 127.0.0.1");
    for (const std::string* other : {&options_.server.listen, &options_.server.admin}) {
      const auto address = parse_address(*other);
      if (address && pull->port != 0 && address->port == pull->port && address->ip == pull->ip)
        add("server.pull", fmt::format("is the same address as {}", *other),
            "give it a port of its own");
    }
  }

  // `small` must not be above `large` / divisor.
  void at_most(std::string path, uint64_t small, std::string_view large_path, uint64_t large,
               uint64_t divisor, std::string_view why) {
    if (small <= large / divisor) return;
    const std::string part = divisor == 1 ? "" : divisor == 4 ? "a quarter of " : "half of ";
    add(std::move(path),
        fmt::format("{} is more than {}{} ({})", format_size(static_cast<int64_t>(small)), part,
                    large_path, format_size(static_cast<int64_t>(large / divisor))),
        fmt::format("{}; lower it or raise {}", why, large_path));
  }

  void sizes() {
    const auto& store = options_.store;
    const auto& limits = options_.limits;
    at_most("limits.event_bytes", options_.events.event_bytes, "store.segment_bytes",
            store.segment_bytes, 4, "a segment must hold an event beside its tree and free list");
    if (is_set("store.commit_max_bytes"))
      at_most("store.commit_max_bytes", store.commit_max_bytes, "store.segment_bytes",
              store.segment_bytes, 4, "a segment must hold the largest commit beside its tree");
    at_most("limits.event_bytes", options_.events.event_bytes, "limits.decoded_body_bytes",
            limits.decoded_body_bytes, 1, "no body could carry such an event");
    at_most("limits.body_bytes", limits.body_bytes, "limits.decoded_body_bytes",
            limits.decoded_body_bytes, 1, "a body that is not compressed counts for both");
    at_most("limits.decoded_body_bytes", limits.decoded_body_bytes, "limits.body_memory_bytes",
            limits.body_memory_bytes, 1, "the largest body would never be accepted");
    at_most("limits.decoded_body_bytes", limits.decoded_body_bytes, "store.append_queue_bytes",
            store.append_queue_bytes, 1, "the largest body could never be queued");
    if (store.max_bytes != 0)
      at_most("store.segment_bytes", store.segment_bytes, "store.max_bytes", store.max_bytes, 2,
              "the log needs room for the active segment and its successor");
    const storage::PressureLimits& pressure = store.pressure;
    if (pressure.ready > pressure.shed_low)
      add("limits.ready_percent", "is above limits.shed_low_percent",
          "readiness has to turn red before anything is refused");
    if (pressure.shed_low > pressure.shed_normal)
      add("limits.shed_low_percent", "is above limits.shed_normal_percent",
          "low priority goes before normal priority");
    if (options_.events.depth > event::kMaxDepth)
      add("limits.event_depth", fmt::format("this build allows at most {}", event::kMaxDepth), "");
    const unsigned buffers = options_.reactor.receive_buffers;
    if ((buffers & (buffers - 1)) != 0)
      add("reactor.receive_buffers", fmt::format("{} is not a power of two", buffers),
          "write for example 1024");
  }

  void keys() {
    std::set<std::string_view> seen;
    for (size_t i = 0; i < options_.keys.size(); ++i) {
      const event::KeyOptions& key = options_.keys[i];
      if (key.key.empty())
        add(fmt::format("keys.{}.key", i), "is empty", "give the text clients send");
      if (!key.key.empty() && !seen.insert(key.key).second)
        add(fmt::format("keys.{}.key", i), "is used by an earlier entry", "each key needs its own");
      if (key.tenant.empty())
        add(fmt::format("keys.{}.tenant", i), "is empty", "leave it out for \"default\"");
      for (const std::string& level : key.ack)
        if (level != "committed" && level != "received")
          add(fmt::format("keys.{}.ack", i), fmt::format("\"{}\" is no level", level),
              "levels are committed and received");
    }
  }

  void lane_name(const std::string& path, const std::string& name,
                 std::set<std::string_view>& seen) {
    const bool plain = !name.empty() && name.size() <= 64 &&
                       std::all_of(name.begin(), name.end(), [](unsigned char c) {
                         return std::isalnum(c) || c == '_' || c == '-' || c == '.';
                       });
    if (!plain)
      add(path, fmt::format("\"{}\" is not a name", name),
          "use 1 to 64 letters, digits, '_', '-' or '.'");
    if (!seen.insert(name).second)
      add(path, fmt::format("\"{}\" is used twice", name),
          "destinations and consumers share one set of names");
  }

  void lanes() {
    std::set<std::string_view> seen;
    for (size_t i = 0; i < options_.forwarder.destinations.size(); ++i) {
      const auto& destination = options_.forwarder.destinations[i];
      const std::string path = fmt::format("destinations.{}.", i);
      lane_name(path + "name", destination.name, seen);
      DestinationChecks checks;
      checks.is_set = [&](std::string_view option) {
        return is_changed(path + std::string(option));
      };
      checks.report = [&](std::string_view option, std::string message, std::string hint) {
        add(path + std::string(option), std::move(message), std::move(hint));
      };
      check_destination(destination, checks);
    }
    for (size_t i = 0; i < options_.pull.consumers.size(); ++i)
      lane_name(fmt::format("consumers.{}.name", i), options_.pull.consumers[i].lane.name, seen);
    if (options_.pull.consumers.size() > options_.pull.max_consumers)
      add("pull.max_consumers",
          fmt::format("{} consumers are declared", options_.pull.consumers.size()),
          "raise it to at least their number");
  }

  void tokens() {
    std::set<std::string_view> seen;
    for (size_t i = 0; i < options_.tokens.size(); ++i) {
      const admin::TokenOptions& token = options_.tokens[i];
      if (token.name.empty() || !seen.insert(token.name).second)
        add(fmt::format("tokens.{}.name", i), "is empty or used twice", "name who holds the token");
      const bool hash = token.hash.size() == 64 &&
                        token.hash.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
      if (!hash)
        add(fmt::format("tokens.{}.hash", i), "is not a SHA-256 (64 hex digits)",
            "printf %s TOKEN | sha256sum");
    }
  }

  const Options& options_;
  std::vector<Problem>& problems_;
};

}  // namespace

void check_relations(const Options& options, std::vector<Problem>& problems) {
  Checker(options, problems).run();
}

}  // namespace weir::options
