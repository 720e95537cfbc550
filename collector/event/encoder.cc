#include "collector/event/encoder.h"

#include <string>

#include "storage/base/bytes.h"

namespace weir::event {
namespace {

// Client ids are text; nothing printable begins like this.
constexpr std::string_view kRequestPrefix("\x01request\0", 9);
constexpr std::string_view kContentPrefix(
    "\x01"
    "content\0",
    9);

}  // namespace

Fingerprint choose_fingerprint(const DedupeSecret& secret, const EventFields& fields,
                               const RequestIdentity& identity) {
  if (!fields.id.empty()) return make_fingerprint(secret, fields.tenant, fields.id);
  if (!identity.idempotency_key.empty()) {
    std::string key(kRequestPrefix);
    append_le(key, identity.index);
    key.append(identity.idempotency_key);
    return make_fingerprint(secret, fields.tenant, key);
  }
  if (identity.hash_content) {
    std::string key(kContentPrefix);
    append_sized_bytes(key, fields.source);
    key.append(fields.raw);
    return make_fingerprint(secret, fields.tenant, key);
  }
  return {};
}

std::string_view encode_request_fields(const EventFields& fields, Arena& arena) {
  const size_t bound = request_fields_bound(fields);
  char* const bytes = arena.allocate(bound);
  const size_t size = write_request_fields(bytes, fields);
  arena.shrink_last(bound - size);
  return {bytes, size};
}

std::string_view encode_head(const EventFields& fields, std::string_view request_fields,
                             Arena& arena) {
  const size_t bound = event_head_bound(fields, request_fields);
  char* const head = arena.allocate(bound);
  const size_t size = write_event_head(head, fields, request_fields);
  arena.shrink_last(bound - size);
  return {head, size};
}

}  // namespace weir::event
