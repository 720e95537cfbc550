#include "forwarder/lease_body.h"

#include <algorithm>

#include "forwarder/limits.h"
#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir::forwarder {

LeaseBody::LeaseBody(storage::Store& store, const EventFilter& filter, std::string_view lane_name,
                     BodyFormat format, uint64_t max_events, uint64_t max_bytes)
    : store_(store),
      filter_(filter),
      lane_name_(lane_name),
      format_(format),
      event_json_(store.id().text(), format == BodyFormat::kNdjson, false),
      max_events_(max_events),
      max_bytes_(max_bytes) {}

void LeaseBody::begin(const Head& head) {
  if (format_ == BodyFormat::kNdjson) return;
  buffer_ += "{\"lease\":";
  append_json_string(buffer_, head.lease);
  buffer_ += ",\"expires_at\":\"";
  append_rfc3339_ms(buffer_, head.expires_ms);
  buffer_ += "\",\"delivery\":";
  append_decimal(buffer_, head.delivery);
  buffer_ += ",\"node\":";
  append_json_string(buffer_, head.node);
  buffer_ += ",\"store_id\":";
  append_json_string(buffer_, event_json_.store_id());
  buffer_ += ",\"events\":[";
}

void LeaseBody::add(const storage::StoredEvent& event, const EventFields& fields) {
  if (format_ == BodyFormat::kJson && events_ > 0) buffer_.push_back(',');
  event_json_.append(buffer_, event, fields);
  if (format_ == BodyFormat::kNdjson) buffer_.push_back('\n');
  ++events_;
  // Escaping can make a record much longer.
  bytes_ = std::max(bytes_ + event.payload.size(), buffer_.size() / 2);
}

Result<TakenRange> LeaseBody::take(uint16_t shard, uint64_t first, uint64_t last,
                                   int64_t now_wall_ms) {
  TakenRange taken;
  taken.next = first;
  bool stop = false;
  while (!stop && !full() && taken.next <= last) {
    uint64_t left_out = 0;  // an event that did not fit
    EventFields fields;
    const auto visit = [&](const storage::StoredEvent& event) {
      switch (judge(event, filter_, &fields)) {
        case Fate::kSkip:
          taken.skipped.add(fields.tenant);
          break;
        case Fate::kUndecodable:
          taken.undecodable.push_back(copy_undecodable(store_, event, lane_name_, now_wall_ms));
          break;
        case Fate::kSend:
          if (!fits(event.payload.size())) {
            left_out = event.position.number;
            return false;
          }
          add(event, fields);
          ++taken.events;
          taken.tenants.add(fields.tenant);
          break;
      }
      // What is not handed out has its bound too.
      stop = taken.undecodable.size() >= kMaxUndecodablePerUpdate ||
             taken.skipped.total() >= kMaxSkippedPerUpdate;
      return !stop && !full();
    };
    storage::ReadLimits limits;
    limits.last = last;
    limits.max_events = kMaxSkippedPerUpdate;
    limits.max_bytes = UINT64_MAX;
    auto read = store_.read(shard, taken.next, limits, visit);
    if (!read) return tl::unexpected(std::move(read).error());
    taken.missing += read->missing;
    if (left_out != 0) {
      taken.next = left_out;
      break;
    }
    if (read->next <= taken.next) break;
    taken.next = read->next;
    if (read->at_end || taken.missing >= kMaxMissingPerUpdate) break;
  }
  return taken;
}

Status LeaseBody::finish(uint64_t backlog_events, int64_t backlog_oldest_seconds,
                         Compressor& compressor, std::string* body) {
  if (format_ == BodyFormat::kJson) {
    buffer_ += "],\"backlog\":{\"events\":";
    append_decimal(buffer_, static_cast<int64_t>(backlog_events));
    buffer_ += ",\"oldest_seconds\":";
    append_decimal(buffer_, backlog_oldest_seconds);
    buffer_ += "}}";
  }
  return compressor.compress(buffer_, body);
}

}  // namespace weir::forwarder
