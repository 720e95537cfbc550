// How canonical fields are found in an event: at the top, then in properties, then in
// context.campaign; under each of their names (event/words.h). Shared by all protocols.
// Path: hot (per event).  Thread: any; no state.
#pragma once

#include <cstdint>
#include <string_view>

#include "collector/event/rules.h"
#include "collector/protocols/adapter.h"

namespace weir::protocols {

// Text (or number, as written) of the preferred non-empty one of several words in one scope; null
// and "" count as absent. Empty when there is none.
std::string_view find_text_in(const EventInput& input, event::Scope scope, uint64_t words);

// id, name, timestamp, priority, the ids of session, user, shop and so on: everything that native
// events and most others share. Leaves the rest of fields alone. REQUIRES: those texts are empty.
void read_canonical(const EventInput& input, EventFields& fields);

// RFC 3339 text or milliseconds since 1970 (number or digits). 0 when it is neither; such an event
// has no time of its own.
int64_t parse_time(std::string_view text);

// 0 low, 1 normal, 2 high; fallback for anything else.
uint8_t parse_priority(std::string_view text, uint8_t fallback);

// The value a key's rule looks at.
event::FoundValue find_for_rule(const EventInput& input, const EventFields& fields,
                                const event::FieldRule& rule);

// A decoded parameter of the query string. LIFETIME: the arena's or the query's.
std::string_view query_text(const EventInput& input, std::string_view name);

}  // namespace weir::protocols
