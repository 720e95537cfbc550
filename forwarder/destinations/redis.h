// type = "redis": a batch is one script run by Redis that XADDs its events to a stream. The only
// place that includes hiredis.
// Path: warm (per batch).  Thread: the sink on its worker's; the rest on the forwarder's.
//
// Invariants
//   1. The script adds the whole batch, then remembers its id under a key that lives
//      kRedisMarkerSeconds: the same batch again, after an answer that was lost, adds nothing.
//   2. No error reply makes the lane fail events, but for one that Redis finds too large.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "forwarder/destination.h"
#include "forwarder/forwarder.h"

namespace weir::forwarder {

constexpr int kRedisMarkerSeconds = 86'400;

// redis://host[:port][/database], or unix:///path/of/socket[?db=n].
struct RedisAddress {
  std::string host;
  int port = 6379;
  std::string socket;  // of unix://; host is empty then
  int database = 0;
};
Result<RedisAddress> parse_redis_url(std::string_view url);

// What an error reply means. OOM, READONLY, LOADING, BUSY, MASTERDOWN, CLUSTERDOWN …: they pass.
// NOAUTH, WRONGPASS, NOPERM, WRONGTYPE speak of the configuration: retried as well, nothing of the
// log is failed for them. A message that is larger than Redis takes is split off.
Outcome classify_redis(std::string_view error, uint64_t events);

Result<std::unique_ptr<Destination>> make_redis_destination(const DestinationOptions& options,
                                                            const Identity& identity,
                                                            const Clock& clock);

}  // namespace weir::forwarder
