// type = "kafka": one message per event through librdkafka's idempotent producer. A batch is
// delivered when every one of its delivery reports is in. The only place that includes librdkafka.
// Path: warm (per batch).  Thread: the forwarder's; librdkafka resolves, connects and sends on its
// own, and writes to our descriptor when reports wait.
//
// Invariants
//   1. Every message is reported exactly once, also those that were purged: a batch in flight is
//      freed by its last report and touches its Send only while it was not abandoned.
//   2. Nothing of a batch is produced when one of its messages is larger than may be.
//   3. The queue is bounded by what the lane may have in flight: its `concurrency` batches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

// error: an rd_kafka_resp_err_t; name and text: librdkafka's words for it. What is wrong with a
// message (too large, refused as invalid) splits the batch, everything else is retried.
Outcome classify_kafka(int error, std::string_view name, std::string_view text, uint64_t events);

// "kafka://a:9092,b:9092" -> "a:9092,b:9092".
Result<std::string> kafka_brokers(std::string_view url);

Result<std::unique_ptr<Destination>> make_kafka_destination(const DestinationOptions& options,
                                                            const Identity& identity,
                                                            const Clock& clock);

}  // namespace weir::forwarder
