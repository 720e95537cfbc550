// type = "clickhouse": a batch is one INSERT … FORMAT JSONEachRow over http_client.h.
// Path: warm (per batch).  Thread: the forwarder's.
//
// Before the first batch, and again when the table is gone, the server is asked what it knows and
// the table is made if it is missing; batches wait meanwhile. Nothing here blocks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"
#include "forwarder/retry_policy.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace weir::forwarder {

// The number in "Code: 60, e.displayText() = …", which every version of ClickHouse begins its error
// texts with; 0 when there is none.
int clickhouse_error_code(std::string_view snippet);

// Errors about a value (a type it does not parse to, a constraint, too many partitions in one
// block) speak of a row: split. Every other answer than 200 is retried: it passes, or speaks of the
// server, the table or the credentials.
Outcome classify_clickhouse(const HttpAnswer& answer, uint64_t events, int64_t now_wall_ms);

// tokens: the server knows insert_deduplication_token.
std::string clickhouse_create_sql(std::string_view database, std::string_view table, bool tokens);

Result<std::unique_ptr<Destination>> make_clickhouse_destination(const DestinationOptions& options,
                                                                 const Identity& identity,
                                                                 const Clock& clock);

}  // namespace weir::forwarder
