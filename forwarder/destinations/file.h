// type = "file" and "stdout": one event a line (NDJSON). A batch is delivered when it is on stable
// storage; a file that is large or old enough is set aside under a name with its time.
// Path: warm (per batch).  Thread: FileSink on its worker's; make_…() on the forwarder's.
//
// Invariants
//   1. The file holds whole batches: what was written of one that failed is cut off again, and what
//      a crash left of one is cut off when the file is opened.
//   2. After a failed sync nothing more is written to that file: it is set aside.
#pragma once

#include <memory>
#include <string>

#include "forwarder/destination.h"
#include "forwarder/destinations/threaded.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

// LIFETIME: clock outlives the sink.
std::unique_ptr<BlockingSink> make_file_sink(const DestinationOptions& options, const Clock& clock);
// Writes to a descriptor that is not ours to close, nor to cut: 1 for stdout.
std::unique_ptr<BlockingSink> make_stream_sink(int fd, const DestinationOptions& options,
                                               const Clock& clock);

Result<std::unique_ptr<Destination>> make_file_destination(const DestinationOptions& options,
                                                           const Identity& identity,
                                                           const Clock& clock);
Result<std::unique_ptr<Destination>> make_stdout_destination(const DestinationOptions& options,
                                                             const Identity& identity,
                                                             const Clock& clock);

}  // namespace weir::forwarder
