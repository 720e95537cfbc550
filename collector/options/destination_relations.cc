#include "collector/options/destination_relations.h"

#include <algorithm>

#include "storage/base/url_text.h"

namespace weir::options {
namespace {

using forwarder::DestinationOptions;

// Whether `word` is one of the words of "a|b|c".
bool is_one_of(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::string_view one = words.substr(0, words.find('|'));
    if (one == word) return true;
    words.remove_prefix(std::min(words.size(), one.size() + 1));
  }
  return false;
}

// Options that only some types know; every other option is for all.
struct Use {
  std::string_view option;
  std::string_view types;
};
constexpr Use kUses[] = {
    {"url", "http|clickhouse|postgresql|redis|kafka"},
    {"user", "clickhouse|postgresql|redis"},
    {"password", "clickhouse|postgresql|redis"},
    {"path", "file"},
    {"rotate.bytes", "file"},
    {"rotate.age", "file"},
    {"database", "clickhouse"},
    {"table", "clickhouse|postgresql"},
    {"create_table", "clickhouse|postgresql"},
    {"stream", "redis"},
    {"max_length", "redis"},
    {"topic", "kafka"},
    {"partition_key", "kafka"},
    {"properties", "kafka"},
    {"format", "http"},
    {"compression", "http|clickhouse|kafka"},
    {"connect_timeout", "http|clickhouse|postgresql|redis"},
    {"request_timeout", "http|clickhouse|postgresql|redis|kafka|stdout"},
    {"stall_timeout", "http|clickhouse"},
    {"authorization", "http"},
    {"headers", "http"},
    {"hmac_key", "http"},
    {"tls.ca_file", "http|clickhouse"},
    {"tls.cert_file", "http|clickhouse"},
    {"tls.key_file", "http|clickhouse"},
    {"tls.verify", "http|clickhouse"},
};

// What a type cannot be without.
struct Need {
  std::string_view type;
  std::string_view option;
  std::string_view schemes;  // of a url: with which of these it must begin
  std::string_view example;
};
constexpr Need kNeeds[] = {
    {"http", "url", "http://|https://", "https://collector.example/v1/batch"},
    {"clickhouse", "url", "http://|https://", "http://clickhouse.example:8123/"},
    {"postgresql", "url", "postgresql://|postgres://", "postgresql://db.example/analytics"},
    {"redis", "url", "redis://|unix://", "redis://redis.example:6379/0"},
    {"kafka", "url", "kafka://", "kafka://a.example:9092,b.example:9092"},
    {"file", "path", "", "/var/lib/weir/events.ndjson"},
};

bool has_scheme(std::string_view url, std::string_view schemes) {
  while (!schemes.empty()) {
    const std::string_view one = schemes.substr(0, schemes.find('|'));
    if (url.starts_with(one)) return true;
    schemes.remove_prefix(std::min(schemes.size(), one.size() + 1));
  }
  return false;
}

std::string spelled(std::string_view words) {
  std::string out(words);
  for (size_t at = 0; (at = out.find('|', at)) != std::string::npos; at += 4)
    out.replace(at, 1, " or ");
  return out;
}

void needs(const DestinationOptions& destination, const DestinationChecks& checks) {
  for (const Need& need : kNeeds) {
    if (need.type != destination.type) continue;
    const std::string& value = need.option == "url" ? destination.url : destination.path;
    if (value.empty())
      checks.report(need.option, fmt::format("is missing; type \"{}\" needs it", need.type),
                    fmt::format("write for example {} = \"{}\"", need.option, need.example));
    else if (!need.schemes.empty() && !has_scheme(value, need.schemes))
      checks.report(
          need.option,
          fmt::format("\"{}\" does not begin with {}", url_text(value), spelled(need.schemes)),
          fmt::format("write for example {}", need.example));
  }
}

// A url is shown by `config print` and in logs; a password must not be in it.
bool has_password(std::string_view url) {
  const size_t begin = url.find("://");
  if (begin == std::string_view::npos) return false;
  url.remove_prefix(begin + 3);
  const std::string_view authority = url.substr(0, url.find_first_of("/?#"));
  const size_t at = authority.rfind('@');
  return at != std::string_view::npos &&
         authority.substr(0, at).find(':') != std::string_view::npos;
}

}  // namespace

void check_destination(const DestinationOptions& destination, const DestinationChecks& checks) {
  needs(destination, checks);
  if (destination.type != "http" && has_password(destination.url))
    checks.report("url", "carries a password, which would be printed with it",
                  "put it into password, or its file's path into password_file");
  for (const Use& use : kUses)
    if (!is_one_of(use.types, destination.type) && checks.is_set(use.option))
      checks.report(use.option, fmt::format("type \"{}\" does not know it", destination.type),
                    fmt::format("it is for type {}; leave it out", spelled(use.types)));
  if (destination.retry.base_ms > destination.retry.cap_ms)
    checks.report("retry.base", "is longer than retry.cap", "the cap bounds every pause");
  if (destination.cert_file.empty() != destination.key_file.empty())
    checks.report(destination.cert_file.empty() ? "tls.key_file" : "tls.cert_file",
                  "needs the other of tls.cert_file and tls.key_file", "");
  for (const auto& [name, value] : destination.headers)
    if (name.empty() || name.find_first_of(" :\r\n\t") != std::string::npos ||
        value.find_first_of("\r\n") != std::string::npos)
      checks.report("headers", fmt::format("\"{}\" is not a header", name),
                    "a name without spaces or colon, a value on one line");
}

}  // namespace weir::options
