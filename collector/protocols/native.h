// Weir's own protocol: POST /v1/events and, for the shop SDK, POST /events (docs/protocols.md).
#pragma once

#include "collector/protocols/adapter.h"

namespace weir::protocols {

const Adapter& native_adapter();

// {"accepted":…,"duplicates":…,"rejected":…,"results":[…]}, the answer of all of Weir's own paths.
http::Response native_answer(const Outcome& outcome, std::string& text);

// Appends [{"index":…,"id":…,"status":…,"reason":…,"detail":…},…].
void append_results(std::string& text, std::span<const EventResult> results);

}  // namespace weir::protocols
