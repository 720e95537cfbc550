#include "forwarder/encoder.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir::forwarder {
namespace {

template <class Number>
void append_number(std::string& out, Number value) {
  char digits[21];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, static_cast<size_t>(end - digits));
}

// `key` comes with its quotes, its colon and the comma before it.
void append_member(std::string& out, std::string_view key, std::string_view text) {
  if (text.empty()) return;
  out += key;
  append_json_string(out, text);
}

}  // namespace

std::string_view content_type(BodyFormat format) {
  switch (format) {
    case BodyFormat::kNdjson:
      return "application/x-ndjson";
    case BodyFormat::kCloudEvents:
      return "application/cloudevents-batch+json";
    case BodyFormat::kJson:
      break;
  }
  return "application/json";
}

std::string_view raw_encoding_name(RawEncoding encoding) {
  if (encoding == RawEncoding::kJson) return {};
  return encoding == RawEncoding::kBase64 ? "base64" : "text";
}

void append_decimal(std::string& out, int64_t value) { append_number(out, value); }

void append_seq(std::string& out, Position position) {
  append_number(out, unsigned{position.shard});
  out.push_back('-');
  append_number(out, position.number);
}

void append_event_id(std::string& out, std::string_view store_id, const storage::StoredEvent& event,
                     const EventFields& fields) {
  if (!fields.id.empty()) {
    out += fields.id;
    return;
  }
  out += store_id;
  out.push_back('-');
  append_seq(out, event.position);
}

void append_json_text(std::string& out, std::string_view json, bool one_line) {
  one_line = one_line && (std::memchr(json.data(), '\n', json.size()) != nullptr ||
                          std::memchr(json.data(), '\r', json.size()) != nullptr);
  if (!one_line) {
    out += json;
    return;
  }
  while (!json.empty()) {
    const size_t line = std::min(json.find_first_of("\r\n"), json.size());
    out += json.substr(0, line);
    json.remove_prefix(std::min(line + 1, json.size()));
  }
}

void append_raw(std::string& out, const EventFields& fields, bool one_line) {
  if (fields.raw_encoding != RawEncoding::kJson)
    append_json_string(out, fields.raw);
  else
    append_json_text(out, fields.raw.empty() ? "null" : fields.raw, one_line);
}

void EventJson::append(std::string& out, const storage::StoredEvent& event,
                       const EventFields& fields) const {
  out += "{\"id\":";
  if (fields.id.empty()) {
    out.push_back('"');
    append_event_id(out, store_id_, event, fields);
    out.push_back('"');
  } else {
    append_json_string(out, fields.id);
  }
  out += ",\"seq\":\"";
  append_seq(out, event.position);
  out.push_back('"');
  if (alone_) append_member(out, ",\"store_id\":", store_id_);
  out += ",\"tenant\":";
  append_json_string(out, fields.tenant);
  out += ",\"name\":";
  append_json_string(out, fields.name);
  out += ",\"source\":";
  append_json_string(out, fields.source);
  out += ",\"timestamp\":\"";
  append_rfc3339_ms(out, fields.timestamp_ms != 0 ? fields.timestamp_ms : event.received_ms);
  out += "\",\"received_at\":\"";
  append_rfc3339_ms(out, event.received_ms);
  out.push_back('"');

  append_member(out, ",\"session_id\":", fields.session_id);
  append_member(out, ",\"user_id\":", fields.user_id);
  append_member(out, ",\"anonymous_id\":", fields.anonymous_id);
  append_member(out, ",\"shop_id\":", fields.shop_id);
  append_member(out, ",\"location_id\":", fields.location_id);
  append_member(out, ",\"url\":", fields.url);
  append_member(out, ",\"referrer\":", fields.referrer);
  append_member(out, ",\"campaign_id\":", fields.campaign_id);
  append_member(out, ",\"tracking_id\":", fields.tracking_id);
  append_member(out, ",\"variant\":", fields.variant);
  append_member(out, ",\"ip\":", fields.ip);
  append_member(out, ",\"user_agent\":", fields.user_agent);
  append_member(out, ",\"key\":", fields.key_name);
  if (fields.priority != 1)
    out += fields.priority == 0 ? ",\"priority\":\"low\"" : ",\"priority\":\"high\"";

  if (!fields.envelope.empty()) {
    out += ",\"envelope\":";
    append_json_text(out, fields.envelope, one_line_);
  }
  append_member(out, ",\"raw_encoding\":", raw_encoding_name(fields.raw_encoding));
  out += ",\"raw\":";
  append_raw(out, fields, one_line_);
  out.push_back('}');
}

JsonEncoder::JsonEncoder(BodyFormat format, std::string_view node, std::string_view store_id,
                         Compressor& compressor, bool alone)
    : format_(format),
      event_json_(store_id, format == BodyFormat::kNdjson, alone),
      compressor_(compressor) {
  after_batch_id_ = ",\"node\":";
  append_json_string(after_batch_id_, node);
  after_batch_id_ += ",\"store_id\":";
  append_json_string(after_batch_id_, store_id);
  after_batch_id_ += ",\"events\":[";
}

void JsonEncoder::begin(std::string_view batch_id) {
  buffer_.clear();
  first_ = true;
  if (format_ == BodyFormat::kNdjson) return;
  buffer_ += "{\"batch_id\":";
  append_json_string(buffer_, batch_id);
  buffer_ += after_batch_id_;
}

void JsonEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  if (!first_ && format_ == BodyFormat::kJson) buffer_.push_back(',');
  first_ = false;
  event_json_.append(buffer_, event, fields);
  if (format_ == BodyFormat::kNdjson) buffer_.push_back('\n');
}

Status JsonEncoder::finish(std::string* body) {
  if (format_ == BodyFormat::kJson) buffer_ += "]}";
  return compressor_.compress(buffer_, body);
}

}  // namespace weir::forwarder
