#include "forwarder/destinations/clickhouse_rows.h"

#include <algorithm>

#include "forwarder/encoder.h"
#include "storage/base/json_text.h"

namespace weir::forwarder {

void ClickhouseEncoder::begin(std::string_view) { buffer_.clear(); }

// `key` comes with its quotes, its colon and the comma before it.
void ClickhouseEncoder::text(std::string_view key, std::string_view value) {
  if (value.empty()) return;
  buffer_ += key;
  append_json_string(buffer_, value);
}

// A DateTime holds 1970 to 2106 in seconds; the exact time stands beside it.
void ClickhouseEncoder::time(std::string_view key, std::string_view key_ms, int64_t wall_ms) {
  const int64_t seconds = wall_ms >= 0 ? wall_ms / 1000 : 0;
  buffer_ += key;
  append_decimal(buffer_, std::min<int64_t>(seconds, UINT32_MAX));
  buffer_ += key_ms;
  append_decimal(buffer_, wall_ms);
}

void ClickhouseEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  id_.clear();
  append_event_id(id_, store_id_, event, fields);
  buffer_ += "{\"id\":";
  append_json_string(buffer_, id_);
  buffer_ += ",\"seq\":\"";
  append_seq(buffer_, event.position);
  buffer_.push_back('"');
  text(",\"store_id\":", store_id_);
  text(",\"tenant\":", fields.tenant);
  text(",\"name\":", fields.name);
  text(",\"source\":", fields.source);
  time(",\"timestamp\":", ",\"timestamp_ms\":",
       fields.timestamp_ms != 0 ? fields.timestamp_ms : event.received_ms);
  time(",\"received_at\":", ",\"received_at_ms\":", event.received_ms);
  text(",\"session_id\":", fields.session_id);
  text(",\"user_id\":", fields.user_id);
  text(",\"anonymous_id\":", fields.anonymous_id);
  text(",\"shop_id\":", fields.shop_id);
  text(",\"location_id\":", fields.location_id);
  text(",\"url\":", fields.url);
  text(",\"referrer\":", fields.referrer);
  text(",\"campaign_id\":", fields.campaign_id);
  text(",\"tracking_id\":", fields.tracking_id);
  text(",\"variant\":", fields.variant);
  text(",\"ip\":", fields.ip);
  text(",\"user_agent\":", fields.user_agent);
  text(",\"key\":", fields.key_name);
  text(",\"priority\":", fields.priority == 0 ? "low" : fields.priority == 1 ? "normal" : "high");
  text(",\"envelope\":", fields.envelope);
  text(",\"raw_encoding\":", raw_encoding_name(fields.raw_encoding));
  text(",\"raw\":", fields.raw);
  buffer_ += "}\n";
}

Status ClickhouseEncoder::finish(std::string* body) { return compressor_.compress(buffer_, body); }

}  // namespace weir::forwarder
