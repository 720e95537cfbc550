// Drains the store to its destinations. One thread coordinates all lanes; each lane has its own
// position, batches, retry state and limits, so that a slow or dead destination holds back no
// other. The drain loop of every lane is: cursor -> batch -> send -> mark.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/function_ref.h"
#include "storage/base/metrics.h"
#include "storage/base/result.h"
#include "storage/store.h"

namespace weir::forwarder {

struct BatchOptions {
  uint64_t max_events = 1000;
  uint64_t max_bytes = 4 << 20;  // of event records, before encoding
  int64_t linger_ms = 200;       // a batch that is not full leaves after this long
};

struct RetryOptions {
  int64_t base_ms = 500;  // full jitter: uniform in [0, min(cap, base * 2^attempt)]
  int64_t cap_ms = 300'000;
  int64_t window_ms = 72LL * 3'600'000;  // then the batch fails with reason "retry_window"
  uint32_t max_attempts = 0;             // 0: only the window counts
};

enum class Compression : uint8_t { kNone, kGzip, kZstd };
enum class BodyFormat : uint8_t { kJson, kNdjson, kCloudEvents };

// At most so much a second, over any longer time; 0: no limit.
struct RateOptions {
  uint64_t events = 0;
  uint64_t batches = 0;
};

// type "file": when the file is set aside under a name with its time; 0: never.
struct RotateOptions {
  uint64_t bytes = uint64_t{256} << 20;
  int64_t age_ms = 3'600'000;
};

// type "kafka": what decides the partition, each falling back to the next when an event lacks it.
enum class PartitionKey : uint8_t { kUser, kAnonymous, kSession, kId, kTenant, kShop, kNone };

// One configured [[destinations]] entry. docs/destinations.md says which type uses what.
struct DestinationOptions {
  std::string name;
  std::string type = "http";
  std::string url;
  std::string user;
  std::string password;
  std::string path;                    // file
  RotateOptions rotate;                // file
  std::string database = "default";    // clickhouse
  std::string table = "weir_events";   // clickhouse, postgresql: may carry a schema
  bool create_table = true;            // clickhouse, postgresql
  std::string stream = "weir:events";  // redis
  uint64_t max_length = 0;             // redis: trimmed to about so many entries; 0: never
  std::string topic = "weir-events";   // kafka
  PartitionKey partition_key = PartitionKey::kUser;             // kafka
  std::vector<std::pair<std::string, std::string>> properties;  // kafka: librdkafka's own
  RateOptions rate_limit;
  BodyFormat format = BodyFormat::kJson;
  Compression compression = Compression::kGzip;
  BatchOptions batch;
  RetryOptions retry;
  unsigned concurrency = 4;  // batches in flight at once
  int64_t connect_timeout_ms = 10'000;
  int64_t request_timeout_ms = 60'000;
  int64_t stall_timeout_ms = 60'000;  // not a byte in either direction for this long: given up
  std::vector<std::pair<std::string, std::string>> headers;
  std::string hmac_key;  // empty: no Weir-Signature
  std::string ca_file;   // empty: the system's
  std::string cert_file;
  std::string key_file;
  bool verify_tls = true;
  std::vector<std::string> filter_tenants;  // empty: all
  std::vector<std::string> filter_names;
  std::vector<std::string> filter_sources;
  uint64_t max_backlog_bytes = 0;  // see storage::LaneOptions
  int64_t max_backlog_age_ms = 0;
  storage::BacklogPolicy backlog_policy = storage::BacklogPolicy::kRefuseNew;
};

struct ForwarderOptions {
  std::string node;
  std::vector<DestinationOptions> destinations;
  int64_t drain_ms = 10'000;  // on stop: how long batches in flight may finish
  // Bodies of all lanes together. A lane always may hold one batch, so the bound is this plus one
  // batch per lane.
  uint64_t max_memory_bytes = uint64_t{32} << 20;
};

// What a lane shows of itself; refreshed at least once a second.
struct LaneStatus {
  std::string name;
  std::string state;  // idle, sending, backing_off, stopped
  std::string last_error;
  uint64_t in_flight = 0;
  uint32_t attempts = 0;        // of the batch that is being retried longest
  int64_t next_attempt_ms = 0;  // wall time, 0: none scheduled
};

class Forwarder {
 public:
  // Errors: options that cannot work, in words. A destination that is away is no error.
  // LIFETIME: store, clock and metrics outlive the forwarder.
  static Result<std::unique_ptr<Forwarder>> start(const ForwarderOptions& options,
                                                  storage::Store& store, const Clock& clock,
                                                  MetricRegistry& metrics);
  virtual ~Forwarder() = default;
  // Sends on for at most drain_ms what can be sent (a lane that is backing off is not waited for),
  // cuts off requests that are still in flight then, waits for the marks, ends the thread. What is
  // left stays in the store. Idempotent. Call it before Store::stop(), and destroy the forwarder
  // between Store::stop() and the store's end, as LaneClient asks for.
  virtual void stop() = 0;
  virtual std::vector<LaneStatus> status() const = 0;  // any thread
  // Dead letters or expired ranges were requeued in the store: look for them now. Any thread.
  virtual void wake() = 0;
  // The destinations are these from now on; the ones named in `changed` differ from what they were
  // and start again from their durable position, the others go on undisturbed. commit runs when
  // nothing else can fail any more; with its error, or an earlier one, everything stays as it was.
  // Requests in flight of a destination that goes or changes are cut off; their batches are sent
  // again. Any thread, one call at a time.
  virtual Status reconfigure(const std::vector<DestinationOptions>& destinations,
                             const std::set<std::string>& changed,
                             FunctionRef<Status()> commit) = 0;
  // Whether the destination wants an event (storage/base/event_record.h), or its filter leaves it
  // out. Nothing when there is no such destination or record. Any thread.
  virtual std::optional<bool> wants(std::string_view destination,
                                    std::string_view record) const = 0;
};

}  // namespace weir::forwarder
