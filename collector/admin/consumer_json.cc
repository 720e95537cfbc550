#include "collector/admin/consumer_json.h"

#include <algorithm>

#include "collector/admin/human_text.h"
#include "storage/base/clock.h"

namespace weir::admin {
namespace {

void write_list(JsonWriter& json, std::string_view name, const std::vector<std::string>& list) {
  json.key(name).begin_array();
  for (const std::string& text : list) json.string(text);
  json.end_array();
}

}  // namespace

void write_consumer(JsonWriter& json, const forwarder::ConsumerInfo& info) {
  const forwarder::ConsumerOptions& options = info.options;
  json.begin_object().field("name", options.lane.name).field("declared", info.declared);
  json.field("temporary", options.temporary).field("idle", info.idle);
  json.field("pending", info.pending).field("leased", info.leased).field("delayed", info.delayed);
  json.field("acked", info.counts.sent);
  json.field("failed", info.counts.failed + info.counts.expired);
  json.field("skipped", info.counts.skipped).field("waiting", info.waiting);
  json.time_field("oldest_pending_at", info.oldest_pending_ms);
  json.time_field("active_at", info.active_ms);
  json.key("next").begin_array();
  for (const Position& position : info.next) json.string(position.text());
  json.end_array();
  json.field("open_ranges", info.open_ranges).field("leases_held", info.leases);
  json.key("leases").begin_array();
  for (const forwarder::LeaseInfo& lease : info.some_leases) {
    json.begin_object().field("lease", lease.lease).field("holder", lease.holder);
    json.field("events", lease.events).field("delivery", lease.delivery);
    json.time_field("expires_at", lease.expires_ms);
    json.end_object();
  }
  json.end_array();
  json.field("lease_seconds", options.lease_ms / 1000);
  json.field("max_deliveries", options.max_deliveries);
  json.field("max_open_ranges", options.max_open_ranges);
  json.field("max_idle_seconds", options.lane.max_idle_ms / 1000);
  json.field("sandbox", options.sandbox).key("filter").begin_object();
  write_list(json, "tenants", options.filter_tenants);
  write_list(json, "names", options.filter_names);
  write_list(json, "sources", options.filter_sources);
  json.end_object().end_object();
}

void write_seek(JsonWriter& json, const forwarder::PullCall& call) {
  json.begin_object().field("consumer", call.consumer).key("positions").begin_array();
  for (const Position& position : call.positions) json.string(position.text());
  json.end_array().end_object();
}

Result<forwarder::SeekTarget> read_seek_target(const event::JsonValue& place) {
  if (!place.is_array()) return forwarder::parse_seek(place.string().value_or(""));
  std::string text;
  place.each_element([&](event::JsonValue element) {
    text += (text.empty() ? "" : ",") + element.string().value_or("?");
    return true;
  });
  return forwarder::parse_seek(text);
}

std::string consumer_text(const forwarder::ConsumerInfo& info, int64_t now_ms) {
  std::string out = consumers_text({info}, now_ms);
  std::string next;
  for (const Position& position : info.next) next += " " + position.text();
  out += fmt::format("next new event      {}\n", next);
  out += fmt::format("open ranges          {} of {}\n", info.open_ranges,
                     info.options.max_open_ranges);
  if (info.active_ms != 0)
    out += fmt::format("last asked           {}\n", format_rfc3339_ms(info.active_ms));
  for (const forwarder::LeaseInfo& lease : info.some_leases)
    out += fmt::format("lease                {}  {}, delivery {}, until {}, {}\n", lease.lease,
                       human_count(lease.events, "event"), lease.delivery,
                       format_rfc3339_ms(lease.expires_ms), lease.holder);
  return out;
}

std::string consumers_text(const std::vector<forwarder::ConsumerInfo>& infos, int64_t now_ms) {
  if (infos.empty()) return "no pull consumers\n";
  std::string out =
      fmt::format("{:<20} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>10}  {}\n", "consumer",
                  "pending", "leased", "acked", "failed", "leases", "waiting", "oldest s", "");
  for (const forwarder::ConsumerInfo& info : infos) {
    const int64_t age = info.oldest_pending_ms == 0
                            ? 0
                            : std::max<int64_t>(now_ms - info.oldest_pending_ms, 0) / 1000;
    out += fmt::format("{:<20} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>10}  {}\n",
                       info.options.lane.name, info.pending, info.leased, info.counts.sent,
                       info.counts.failed + info.counts.expired, info.leases, info.waiting, age,
                       info.idle                ? "idle: holds nothing back"
                       : info.options.temporary ? "temporary"
                                                : "");
  }
  return out;
}

}  // namespace weir::admin
