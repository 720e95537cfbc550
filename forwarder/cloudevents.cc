#include "forwarder/cloudevents.h"

#include "forwarder/encoder.h"
#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir::forwarder {
namespace {

// `key` comes with its quotes, its colon and the comma before it.
void append_attribute(std::string& out, std::string_view key, std::string_view text) {
  if (text.empty()) return;
  out += key;
  append_json_string(out, text);
}

// One segment of a URI reference (RFC 3986): everything but unreserved characters in percent form.
void append_segment(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
}

void append_data(std::string& out, const EventFields& fields) {
  switch (fields.raw_encoding) {
    case RawEncoding::kJson:
      out += ",\"datacontenttype\":\"application/json\",\"data\":";
      return append_raw(out, fields, false);
    case RawEncoding::kText:
      out += ",\"datacontenttype\":\"text/plain\",\"data\":";
      return append_raw(out, fields, false);
    case RawEncoding::kBase64:
      out += ",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":";
      return append_raw(out, fields, false);
  }
}

}  // namespace

CloudEventsEncoder::CloudEventsEncoder(std::string_view node, std::string_view store_id,
                                       Compressor& compressor)
    : store_id_(store_id), compressor_(compressor) {
  append_attribute(after_seq_, ",\"storeid\":", store_id);
  append_attribute(after_seq_, ",\"node\":", node);
}

void CloudEventsEncoder::begin(std::string_view) { buffer_ = "["; }

void CloudEventsEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  if (buffer_.size() > 1) buffer_.push_back(',');
  id_.clear();
  append_event_id(id_, store_id_, event, fields);
  buffer_ += "{\"specversion\":\"1.0\",\"id\":";
  append_json_string(buffer_, id_);
  buffer_ += ",\"source\":\"/";
  append_segment(buffer_, fields.tenant);
  buffer_ += "\",\"type\":";
  append_json_string(buffer_, fields.name.empty() ? "event" : fields.name);
  buffer_ += ",\"time\":\"";
  append_rfc3339_ms(buffer_, fields.timestamp_ms != 0 ? fields.timestamp_ms : event.received_ms);
  buffer_ += "\",\"seq\":\"";
  append_seq(buffer_, event.position);
  buffer_.push_back('"');
  buffer_ += after_seq_;
  buffer_ += ",\"receivedat\":\"";
  append_rfc3339_ms(buffer_, event.received_ms);
  buffer_.push_back('"');
  append_attribute(buffer_, ",\"tenant\":", fields.tenant);
  append_attribute(buffer_, ",\"protocol\":", fields.source);
  append_attribute(buffer_, ",\"sessionid\":", fields.session_id);
  append_attribute(buffer_, ",\"userid\":", fields.user_id);
  append_attribute(buffer_, ",\"anonymousid\":", fields.anonymous_id);
  append_attribute(buffer_, ",\"shopid\":", fields.shop_id);
  append_attribute(buffer_, ",\"locationid\":", fields.location_id);
  append_attribute(buffer_, ",\"url\":", fields.url);
  append_attribute(buffer_, ",\"referrer\":", fields.referrer);
  append_attribute(buffer_, ",\"campaignid\":", fields.campaign_id);
  append_attribute(buffer_, ",\"trackingid\":", fields.tracking_id);
  append_attribute(buffer_, ",\"variant\":", fields.variant);
  append_attribute(buffer_, ",\"ip\":", fields.ip);
  append_attribute(buffer_, ",\"useragent\":", fields.user_agent);
  append_attribute(buffer_, ",\"key\":", fields.key_name);
  if (fields.priority != 1)
    append_attribute(buffer_, ",\"priority\":", fields.priority == 0 ? "low" : "high");
  append_attribute(buffer_, ",\"envelope\":", fields.envelope);  // an attribute is no object: text
  append_data(buffer_, fields);
  buffer_.push_back('}');
}

Status CloudEventsEncoder::finish(std::string* body) {
  buffer_.push_back(']');
  return compressor_.compress(buffer_, body);
}

}  // namespace weir::forwarder
