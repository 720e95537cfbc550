#include "collector/admin/tail_feed.h"

#include <algorithm>

#include "collector/json_writer.h"
#include "storage/base/clock.h"
#include "storage/base/terminal_text.h"

namespace weir::admin {

TailFeed::TailFeed(const EventStream::Limits& limits, reactor::Loop& loop, MetricRegistry& metrics,
                   Watch watch)
    : loop_(loop),
      watch_(std::move(watch)),
      stream_("tail", limits, loop, metrics),
      queue_(loop.wakeup()) {}

void TailFeed::close() {
  stream_.close();
  loop_.cancel(look_);
}

bool TailFeed::subscribe(http::Exchange& exchange, TapFilter filter, bool as_text) {
  auto wanted = std::make_unique<Wanted>();
  wanted->filter = std::make_shared<const TapFilter>(std::move(filter));
  wanted->as_text = as_text;
  std::weak_ptr<const TapFilter> known = wanted->filter;
  if (!stream_.subscribe(exchange, std::move(wanted))) return false;
  filters_.push_back(std::move(known));
  tell_reactors();
  if (!look_.armed()) loop_.arm(look_, kLookMs * 1'000'000);
  return true;
}

// Whose filter is gone has left.
void TailFeed::look() {
  if (std::erase_if(filters_, [](const auto& filter) { return filter.expired(); }) > 0)
    tell_reactors();
  if (!filters_.empty()) loop_.arm(look_, kLookMs * 1'000'000);
}

void TailFeed::tell_reactors() {
  if (filters_.empty()) return watch_(nullptr);
  auto watch = std::make_shared<TapWatch>();
  for (const auto& known : filters_)
    if (const auto filter = known.lock()) watch->filters.push_back(*filter);
  watch->queue = &queue_;
  watch_(std::move(watch));
}

void TailFeed::pump() {
  queue_.take([&](const TapEvent& event) {
    if (stream_.idle()) return;
    for (const bool as_text : {false, true}) {
      const auto wants = [&](const EventStream::Interest* interest) {
        const auto& wanted = *static_cast<const Wanted*>(interest);
        return wanted.as_text == as_text && wanted.filter->wants(event);
      };
      const std::string data = as_text ? tail_text(event) : tail_json(event);
      stream_.publish({"event", data}, wants);
    }
  });
}

std::string tail_json(const TapEvent& event) {
  JsonWriter json;
  json.begin_object().field("at", format_rfc3339_ms(event.at_ms)).field("outcome", event.outcome);
  json.field("reason", event.reason).field("source", event.source).field("tenant", event.tenant);
  json.field("key", event.key).field("name", event.name).field("id", event.id).key("seq");
  if (event.position.number == 0)
    json.null();
  else
    json.string(event.position.text());
  json.field("bytes", event.raw_bytes).key("raw");
  if (event.raw.empty())
    json.null();
  else if (event.raw_encoding == RawEncoding::kJson)
    json.raw(event.raw);
  else
    json.string(event.raw);
  std::string line = json.end_object().take();
  // Outside of strings a line break is white space, and inside of strings JSON has none.
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return line;
}

std::string tail_text(const TapEvent& event) {
  const std::string at = format_rfc3339_ms(event.at_ms);
  std::string place = event.reason;
  if (place.empty() && event.position.number != 0) place = event.position.text();
  return fmt::format("{} {:<9} {:<10} {:<12} {:<24} {:<24} {}", at.substr(11, 12), event.outcome,
                     terminal_text(event.source, 10), terminal_text(event.tenant, 12),
                     terminal_text(event.name, 24), terminal_text(event.id, 36),
                     terminal_text(place));
}

}  // namespace weir::admin
