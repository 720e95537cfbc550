#include "forwarder/encoder.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "storage/base/clock.h"
#include "storage/base/json_text.h"

namespace weir::forwarder {
namespace {

void append_number(std::string& out, uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, static_cast<size_t>(end - digits));
}

void append_seq(std::string& out, Position position) {
  append_number(out, position.shard);
  out.push_back('-');
  append_number(out, position.number);
}

std::string_view encoding_name(RawEncoding encoding) {
  return encoding == RawEncoding::kBase64 ? "base64" : "text";
}

}  // namespace

std::string_view content_type(BodyFormat format) {
  return format == BodyFormat::kNdjson ? "application/x-ndjson" : "application/json";
}

JsonEncoder::JsonEncoder(BodyFormat format, std::string_view node, std::string_view store_id,
                         Compressor& compressor)
    : format_(format), store_id_(store_id), compressor_(compressor) {
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

// `key` comes with its quotes, its colon and the comma before it.
void JsonEncoder::append_member(std::string_view key, std::string_view text) {
  if (text.empty()) return;
  buffer_ += key;
  append_json_string(buffer_, text);
}

void JsonEncoder::append_json(std::string_view json) {
  const bool one_line = std::memchr(json.data(), '\n', json.size()) == nullptr &&
                        std::memchr(json.data(), '\r', json.size()) == nullptr;
  if (format_ != BodyFormat::kNdjson || one_line) {
    buffer_ += json;
    return;
  }
  while (!json.empty()) {
    const size_t line = std::min(json.find_first_of("\r\n"), json.size());
    buffer_ += json.substr(0, line);
    json.remove_prefix(std::min(line + 1, json.size()));
  }
}

void JsonEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  if (!first_ && format_ == BodyFormat::kJson) buffer_.push_back(',');
  first_ = false;

  buffer_ += "{\"id\":";
  if (fields.id.empty()) {
    buffer_.push_back('"');
    buffer_ += store_id_;
    buffer_.push_back('-');
    append_seq(buffer_, event.position);
    buffer_.push_back('"');
  } else {
    append_json_string(buffer_, fields.id);
  }
  buffer_ += ",\"seq\":\"";
  append_seq(buffer_, event.position);
  buffer_ += "\",\"tenant\":";
  append_json_string(buffer_, fields.tenant);
  buffer_ += ",\"name\":";
  append_json_string(buffer_, fields.name);
  buffer_ += ",\"source\":";
  append_json_string(buffer_, fields.source);
  buffer_ += ",\"timestamp\":\"";
  append_rfc3339_ms(buffer_, fields.timestamp_ms != 0 ? fields.timestamp_ms : event.received_ms);
  buffer_ += "\",\"received_at\":\"";
  append_rfc3339_ms(buffer_, event.received_ms);
  buffer_.push_back('"');

  append_member(",\"session_id\":", fields.session_id);
  append_member(",\"user_id\":", fields.user_id);
  append_member(",\"anonymous_id\":", fields.anonymous_id);
  append_member(",\"shop_id\":", fields.shop_id);
  append_member(",\"location_id\":", fields.location_id);
  append_member(",\"url\":", fields.url);
  append_member(",\"referrer\":", fields.referrer);
  append_member(",\"campaign_id\":", fields.campaign_id);
  append_member(",\"tracking_id\":", fields.tracking_id);
  append_member(",\"variant\":", fields.variant);
  append_member(",\"ip\":", fields.ip);
  append_member(",\"user_agent\":", fields.user_agent);
  append_member(",\"key\":", fields.key_name);
  if (fields.priority != 1)
    buffer_ += fields.priority == 0 ? ",\"priority\":\"low\"" : ",\"priority\":\"high\"";

  if (!fields.envelope.empty()) {
    buffer_ += ",\"envelope\":";
    append_json(fields.envelope);
  }
  if (fields.raw_encoding == RawEncoding::kJson) {
    buffer_ += ",\"raw\":";
    append_json(fields.raw.empty() ? "null" : fields.raw);
  } else {
    buffer_ += ",\"raw_encoding\":\"";
    buffer_ += encoding_name(fields.raw_encoding);
    buffer_ += "\",\"raw\":";
    append_json_string(buffer_, fields.raw);
  }
  buffer_.push_back('}');
  if (format_ == BodyFormat::kNdjson) buffer_.push_back('\n');
}

Status JsonEncoder::finish(std::string* body) {
  if (format_ == BodyFormat::kJson) buffer_ += "]}";
  return compressor_.compress(buffer_, body);
}

}  // namespace weir::forwarder
