// A stored event as JSON, for answers about single events.
// Thread: any; no state.
#pragma once

#include <string_view>

#include "collector/json_writer.h"

namespace weir::admin {

// A key "event": the canonical fields that are there, and the client's own object as "raw" (a
// string where it is none); null when the record (storage/base/event_record.h) cannot be decoded.
void write_event(JsonWriter& json, std::string_view record);

}  // namespace weir::admin
