// A pull consumer as JSON and as text, and where it may be moved, for the pull and the admin
// listeners.
// Thread: any; no state.
#pragma once

#include <string>
#include <vector>

#include "collector/event/json_value.h"
#include "collector/json_writer.h"
#include "forwarder/leases.h"

namespace weir::admin {

void write_consumer(JsonWriter& json, const forwarder::ConsumerInfo& info);
// The answer to a seek.
void write_seek(JsonWriter& json, const forwarder::PullCall& call);
// "earliest", "latest", a time, positions as text or as an array of texts.
Result<forwarder::SeekTarget> read_seek_target(const event::JsonValue& place);
std::string consumer_text(const forwarder::ConsumerInfo& info, int64_t now_ms);
std::string consumers_text(const std::vector<forwarder::ConsumerInfo>& infos, int64_t now_ms);

}  // namespace weir::admin
