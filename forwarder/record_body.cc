#include "forwarder/record_body.h"

#include "storage/base/bytes.h"
#include "storage/base/check.h"

namespace weir::forwarder {
namespace {

void append_piece(std::string& out, std::string_view piece) {
  append_le(out, static_cast<uint32_t>(piece.size()));
  out += piece;
}

std::string_view first_of(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts)
    if (!text.empty()) return text;
  return {};
}

}  // namespace

std::string_view record_key(PartitionKey key, const EventFields& fields, std::string_view id) {
  switch (key) {
    case PartitionKey::kUser:
      return first_of({fields.user_id, fields.anonymous_id, fields.session_id, id});
    case PartitionKey::kAnonymous:
      return first_of({fields.anonymous_id, fields.session_id, id});
    case PartitionKey::kSession:
      return first_of({fields.session_id, id});
    case PartitionKey::kShop:
      return first_of({fields.shop_id, id});
    case PartitionKey::kTenant:
      return fields.tenant;
    case PartitionKey::kId:
      return id;
    case PartitionKey::kNone:
      break;
  }
  return {};
}

void RecordEncoder::begin(std::string_view) { buffer_.clear(); }

void RecordEncoder::add(const storage::StoredEvent& event, const EventFields& fields) {
  id_.clear();
  append_event_id(id_, event_json_.store_id(), event, fields);
  append_piece(buffer_, record_key(key_, fields, id_));
  append_piece(buffer_, fields.tenant);
  append_piece(buffer_, id_);
  const size_t length_at = buffer_.size();
  append_le(buffer_, uint32_t{0});
  event_json_.append(buffer_, event, fields);
  store_le(buffer_.data() + length_at,
           static_cast<uint32_t>(buffer_.size() - length_at - sizeof(uint32_t)));
}

Status RecordEncoder::finish(std::string* body) {
  *body = buffer_;
  return {};
}

bool next_record(std::string_view* body, Record* record) {
  if (body->empty()) return false;
  ByteReader reader(*body);
  for (std::string_view* piece : {&record->key, &record->tenant, &record->id, &record->value})
    *piece = reader.bytes(reader.le<uint32_t>());
  WEIR_CHECK(reader.ok(), "a batch's records were not written by RecordEncoder");
  const size_t used =
      static_cast<size_t>(record->value.data() + record->value.size() - body->data());
  body->remove_prefix(used);
  return true;
}

}  // namespace weir::forwarder
