// type = "postgresql": a batch is one transaction, COPY into a temporary table, then INSERT … ON
// CONFLICT DO NOTHING into a table partitioned by day. The only place that includes libpq.
// Path: warm (per batch).  Thread: each sink and its connection on its worker's.
//
// Invariants
//   1. Delivered means committed with synchronous_commit at least "on".
//   2. The batch is in the table as a whole or not at all; the same batch again adds nothing.
//   3. Table and partitions are made when they are missing, unless create_table is false.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

// What the server refused. constraint: the violated one's name, empty when the error names none.
struct PostgresqlError {
  std::string_view sqlstate;  // empty: the connection failed
  std::string_view message;
  std::string_view constraint;
};
// Data exceptions (22…), violated constraints (23…) and limits of one row (54…) speak of a row:
// split. Everything else passes or speaks of server, schema or credentials: retry.
Outcome classify_postgresql(const PostgresqlError& error, uint64_t events);

Result<std::unique_ptr<Destination>> make_postgresql_destination(const DestinationOptions& options,
                                                                 const Identity& identity,
                                                                 const Clock& clock);

}  // namespace weir::forwarder
