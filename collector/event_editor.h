// Edits a failed event: the client's object is replaced, the canonical fields are taken from the
// new one. Thread: any. Cold.
#pragma once

#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace weir {

// The record (storage/base/event_record.h) of the edited event. Its id, tenant and what Weir knows
// about the request stay. Errors say what is wrong with new_raw.
Result<std::string> edit_event_record(std::string_view old_record, std::string_view new_raw);

}  // namespace weir
