// From canonical fields to what the store keeps: the record head and the fingerprint.
// Path: hot (once per event).  Thread: one owner.
#pragma once

#include <cstdint>
#include <string_view>

#include "collector/event/arena.h"
#include "storage/base/event_record.h"
#include "storage/base/hash.h"

namespace weir::event {

// What identifies an event when it carries no id of its own.
struct RequestIdentity {
  std::string_view idempotency_key;  // the request's header, empty when absent
  uint32_t index = 0;                // of the event in the request
  bool hash_content = false;         // the key asks for it: events without id are equal if raw is
};

// The event's own id; else the request's Idempotency-Key with the event's index; else, where the
// key asks for it, the content; else none (all zero: not deduplicated). The three kinds never
// collide with one another.
Fingerprint choose_fingerprint(const DedupeSecret& secret, const EventFields& fields,
                               const RequestIdentity& identity);

// The part of the record's head that all events of a request under one key share, and the head
// with that part in it (storage/base/event_record.h). LIFETIME: the arena's.
std::string_view encode_request_fields(const EventFields& fields, Arena& arena);
std::string_view encode_head(const EventFields& fields, std::string_view request_fields,
                             Arena& arena);

}  // namespace weir::event
