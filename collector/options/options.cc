#include "collector/options/options.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "collector/options/relations.h"
#include "collector/options/sources.h"
#include "collector/options/table.h"
#include "storage/base/check.h"

namespace weir::options {
namespace {

constexpr size_t kMaxSecretFileBytes = 64 << 10;

// What a row ended up with, and from where.
struct Chosen {
  Value value;
  Origin origin;
  bool set = false;
};

class Loader {
 public:
  explicit Loader(Collected collected) : collected_(std::move(collected)) {}

  LoadResult finish() {
    for (const RawSetting& setting : collected_.settings) choose(setting);
    for (const OptionRow& row : option_table()) {
      if (!find_section(row.section)->array)
        settle(row, -1);
      else
        for (size_t i = 0; i < entries(row.section).size(); ++i) settle(row, static_cast<int>(i));
    }
    land_all();
    return std::move(result_);
  }

 private:
  const std::vector<Origin>& entries(std::string_view section) const {
    static const std::vector<Origin> kNone;
    const auto found = collected_.entries.find(section);
    return found == collected_.entries.end() ? kNone : found->second;
  }

  void problem(const RawSetting& setting, std::string message, std::string hint) {
    result_.problems.push_back({setting.origin,
                                setting_path(setting.section, setting.index, setting.name),
                                std::move(message), std::move(hint)});
  }

  // Later sources come later in the list and win.
  void choose(const RawSetting& setting) {
    const OptionRow* row = find_option(setting.section, setting.name);
    RawValue raw = setting.value;
    if (row == nullptr && setting.name.ends_with("_file")) {
      row = find_option(setting.section, setting.name.substr(0, setting.name.size() - 5));
      if (row != nullptr && (!row->secret() || row->type != Type::kText)) row = nullptr;
      if (row != nullptr && !read_secret(setting, &raw)) return;
    }
    if (row == nullptr) {
      report_unknown_option(setting.section, setting.index, setting.name, setting.origin,
                            collected_);
      return;
    }
    auto value = to_value(row->type, raw);
    if (!value) return problem(setting, value.error().message, std::string(row->help));
    if (!in_range(*row, setting, *value)) return;
    chosen_[{row, setting.index}] = {std::move(*value), setting.origin, true};
  }

  bool read_secret(const RawSetting& setting, RawValue* raw) {
    if (raw->kind != RawValue::Kind::kText) {
      problem(setting, "must be the path of a file", "");
      return false;
    }
    std::ifstream file(raw->text, std::ios::binary);
    std::stringstream text;
    if (file) text << file.rdbuf();
    std::string secret = text.str();
    if (!file || secret.size() > kMaxSecretFileBytes) {
      problem(setting,
              fmt::format("cannot read {}: {}", raw->text,
                          file ? "larger than 64 KiB" : std::strerror(errno)),
              "the file holds the secret and nothing else; Weir's user must be able to read it");
      return false;
    }
    while (secret.ends_with('\n') || secret.ends_with('\r')) secret.pop_back();
    raw->text = std::move(secret);
    return true;
  }

  static std::string shown_number(const OptionRow& row, int64_t number) {
    if (row.type == Type::kSize) return format_size(number);
    if (row.type == Type::kDuration || row.type == Type::kSeconds) return format_duration(number);
    return std::to_string(number);
  }

  bool in_range(const OptionRow& row, const RawSetting& setting, const Value& value) {
    const bool numeric = row.type == Type::kInteger || row.type == Type::kSize ||
                         row.type == Type::kDuration || row.type == Type::kSeconds;
    const bool zero = value.number == 0 && row.zero_is_special();
    if (numeric && !zero && (value.number < row.min || value.number > row.max)) {
      std::string limits = fmt::format("at least {}", shown_number(row, row.min));
      if (row.max != kNoMax) limits += fmt::format(" and at most {}", shown_number(row, row.max));
      problem(setting, fmt::format("must be {}", limits), std::string(row.help));
      return false;
    }
    if (row.type != Type::kChoice) return true;
    std::string choices;
    for (std::string_view rest = row.choices; !rest.empty();) {
      const std::string_view choice = rest.substr(0, rest.find('|'));
      if (choice == value.text) return true;
      if (!choices.empty()) choices += ", ";
      choices += choice;
      rest.remove_prefix(std::min(rest.size(), choice.size() + 1));
    }
    problem(setting, fmt::format("must be one of: {}", choices), std::string(row.help));
    return false;
  }

  void settle(const OptionRow& row, int index) {
    EffectiveSetting setting;
    setting.row = &row;
    setting.index = index;
    if (index >= 0) setting.entry = entries(row.section)[static_cast<size_t>(index)];
    const auto found = chosen_.find({&row, index});
    if (found != chosen_.end()) {
      setting.value = found->second.value;
      setting.origin = found->second.origin;
    } else if (row.required()) {
      const Origin& origin = entries(row.section)[static_cast<size_t>(index)];
      result_.problems.push_back({origin, setting_path(row.section, index, row.name), "is missing",
                                  std::string(row.help)});
    } else {
      RawValue raw;
      raw.from_text = true;
      raw.text = row.effective_default();
      auto value = to_value(row.type, raw);
      WEIR_CHECK(value.has_value(), "default of {}.{}", row.section, row.name);
      setting.value = std::move(*value);
    }
    result_.options.settings.push_back(std::move(setting));
  }

  void land_all() {
    Options& options = result_.options;
    options.keys.resize(entries("keys").size());
    options.forwarder.destinations.resize(entries("destinations").size());
    options.pull.consumers.resize(entries("consumers").size());
    options.tokens.resize(entries("tokens").size());
    for (forwarder::ConsumerOptions& consumer : options.pull.consumers)
      consumer.lane.kind = storage::LaneKind::kConsumer;
    for (const EffectiveSetting& setting : options.settings) {
      const auto i = static_cast<size_t>(setting.index);
      const std::string_view section = setting.row->section;
      void* to = &options;
      if (section == "keys") to = &options.keys[i];
      if (section == "destinations") to = &options.forwarder.destinations[i];
      if (section == "consumers") to = &options.pull.consumers[i];
      if (section == "tokens") to = &options.tokens[i];
      setting.row->land(to, setting.value);
    }
    for (Problem& found : collected_.problems) result_.problems.push_back(std::move(found));
  }

  Collected collected_;
  std::map<std::pair<const OptionRow*, int>, Chosen> chosen_;
  LoadResult result_;
};

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

// What depends on the machine or on several options.
void derive(Options& options) {
  if (options.server.node.empty()) options.server.node = host_name();
  if (options.server.shards == 0)
    options.server.shards = std::max(1u, std::thread::hardware_concurrency());
  // A commit must fit a segment with room to spare; only an explicit value is refused above that.
  options.store.commit_max_bytes =
      std::min(options.store.commit_max_bytes, options.store.segment_bytes / 4);
  options.forwarder.node = options.server.node;
  options.forwarder.drain_ms = options.server.drain_ms;
  for (const auto& destination : options.forwarder.destinations) {
    storage::LaneOptions lane;
    lane.name = destination.name;
    lane.max_backlog_bytes = destination.max_backlog_bytes;
    lane.max_backlog_age_ms = destination.max_backlog_age_ms;
    lane.policy = destination.backlog_policy;
    options.store.lanes.push_back(std::move(lane));
  }
  options.pull.node = options.server.node;
  for (const auto& consumer : options.pull.consumers) options.store.lanes.push_back(consumer.lane);
}

}  // namespace

std::string EffectiveSetting::path() const { return setting_path(row->section, index, row->name); }

LoadResult load_options(const Sources& sources) {
  Collected collected;
  if (!sources.file.empty()) read_toml_file(sources.file, collected);
  read_environment(sources.environment, collected);
  read_flags(sources.flags, collected);
  if (!sources.forward_url.empty()) {
    const auto index = collected.entries["destinations"].size();
    read_flags({{"--forward", fmt::format("destinations.{}.name", index), "forward"},
                {"--forward", fmt::format("destinations.{}.url", index), sources.forward_url}},
               collected);
  }
  LoadResult result = Loader(std::move(collected)).finish();
  if (result.ok()) check_relations(result.options, result.problems);
  if (result.ok()) derive(result.options);
  std::stable_sort(
      result.problems.begin(), result.problems.end(),
      [](const Problem& a, const Problem& b) { return a.origin.line < b.origin.line; });
  return result;
}

std::string problem_text(const Problem& problem) {
  std::string out = problem.origin.text;
  if (!out.empty()) out += ": ";
  if (!problem.path.empty()) out += problem.path + ": ";
  out += problem.message;
  if (!problem.hint.empty()) out += "; " + problem.hint;
  return out;
}

Result<Address> parse_address(std::string_view text) {
  const auto bad = [&] {
    return fail(ErrorCode::kInvalidArgument,
                "\"{}\" is not an address with a port; write for example 127.0.0.1:8080, "
                "0.0.0.0:8080 or [::1]:8080",
                text);
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  Address address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) return bad();
  if (host == "localhost") host = "127.0.0.1";
  in6_addr six{};
  in_addr four{};
  if (host.starts_with('[') && host.ends_with(']')) {
    address.ip = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, address.ip.c_str(), &six) != 1) return bad();
    address.loopback = IN6_IS_ADDR_LOOPBACK(&six);
    return address;
  }
  address.ip = host;
  if (inet_pton(AF_INET, address.ip.c_str(), &four) != 1) return bad();
  address.loopback = (ntohl(four.s_addr) >> 24) == 127;
  return address;
}

}  // namespace weir::options
