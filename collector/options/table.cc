#include "collector/options/table.h"

#include <algorithm>
#include <string>
#include <vector>

#include "collector/options/landing.h"
#include "collector/options/options.h"
#include "storage/base/url_text.h"

namespace weir::options {
namespace {

void land_authorization(void* to, const Value& value) {
  if (value.text.empty()) return;
  static_cast<forwarder::DestinationOptions*>(to)->headers.emplace_back("Authorization",
                                                                        value.text);
}

// ---- the table

using admin::TokenOptions;
using event::KeyOptions;
using forwarder::ConsumerOptions;
using forwarder::DestinationOptions;
using forwarder::PullOptions;
using storage::LaneOptions;
using storage::StoreOptions;
using L = http::Limits;
using E = event::Limits;
using O = Options;
using D = DestinationOptions;
using C = ConsumerOptions;
using forwarder::BatchOptions;
using forwarder::RateOptions;
using forwarder::RetryOptions;
using forwarder::RotateOptions;

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kGiB = 1024 * kMiB;
constexpr int64_t kTiB = 1024 * kGiB;
constexpr int64_t kSecond = 1000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kYear = 366 * kDay;

constexpr SectionInfo kSections[] = {
    {"server", false, "Where Weir listens and how it uses the machine."},
    {"reactor", false, "The event loops, one per shard."},
    {"limits", false,
     "What a client may ask for. Past a limit it gets the status named here; each hit is counted "
     "in weir_http_limit_hits_total or weir_events_total."},
    {"store", false, "The log on disk. docs/sizing.md has the arithmetic."},
    {"dedupe", false, "How long a repeated idempotency key is recognised."},
    {"forwarder", false, "Sending to all destinations."},
    {"pull", false, "Bounds of what central servers may pull; docs/pull.md."},
    {"stats", false, "Counts of pending, sent and failed events."},
    {"log", false, "Weir's own log, on standard error."},
    {"keys", true,
     "Write keys: who may send, and what their events must carry. Without any key, clients on "
     "loopback need none (open mode)."},
    {"destinations", true,
     "Where events are sent to. Each has its own position, retries and limits.", true},
    {"consumers", true, "Declared pull consumers: each holds the events it has not acknowledged.",
     true},
    {"tokens", true,
     "Bearer tokens of the admin listener. Without any token it is open, on loopback only."},
};

// clang-format off
constexpr OptionRow kTable[] = {
    // ---- server
    {"server", "listen", Type::kText, "127.0.0.1:8080", "", 0, kNoMax, "", 0,
     "Address and port of the ingest listener. In open mode ([[keys]] empty) it serves loopback clients only.",
     land<&O::server, &ServerOptions::listen>},
    {"server", "admin", Type::kText, "127.0.0.1:9090", "", 0, kNoMax, "", 0,
     "Address and port of the admin listener. One that is not on loopback needs [[tokens]].",
     land<&O::server, &ServerOptions::admin>},
    {"server", "pull", Type::kText, "", "", 0, kNoMax, "", 0,
     "Address and port of a listener for central servers that pull. Empty: only the admin listener serves /pull/. One that is not on loopback needs [[tokens]].",
     land<&O::server, &ServerOptions::pull>},
    {"server", "node", Type::kText, "", "", 0, kNoMax, "", 0,
     "The name of this node in batches, answers and logs. Empty: the host name.",
     land<&O::server, &ServerOptions::node>},
    {"server", "shards", Type::kInteger, "0", "", 0, 256, "", 0,
     "Reactors, each with its own thread. 0: one per core.",
     land<&O::server, &ServerOptions::shards>},
    {"server", "pin", Type::kBool, "true", "", 0, kNoMax, "", 0,
     "Pin each reactor to a core of its own, as long as there are enough cores.",
     land<&O::server, &ServerOptions::pin>},
    {"server", "drain_seconds", Type::kSeconds, "10", "2", 0, kHour, "", 0,
     "On SIGTERM: how long requests in flight may finish, and then how long destinations may be flushed.",
     land<&O::server, &ServerOptions::drain_ms>},
    {"server", "max_connections", Type::kInteger, "20000", "64", 1, 1'000'000, "", 0,
     "Open client connections per shard; past it a connection is closed at accept.",
     land<&O::server, &ServerOptions::max_connections>},
    {"server", "admin_max_connections", Type::kInteger, "256", "64", 1, 100'000, "", 0,
     "The same for the admin listener.",
     land<&O::server, &ServerOptions::admin_max_connections>},
    {"server", "pull_max_connections", Type::kInteger, "256", "64", 1, 100'000, "", 0,
     "The same for the pull listener.",
     land<&O::server, &ServerOptions::pull_max_connections>},
    {"server", "admin_streams", Type::kInteger, "32", "4", 1, 10'000, "", 0,
     "Clients that may listen to one stream of the admin listener (/api/v1/live) at a time; one more is answered 503.",
     land<&O::server, &ServerOptions::admin_streams>},
    {"server", "session_lifetime", Type::kDuration, "12h", "", 60'000, 30 * kDay, "", 0,
     "How long a browser stays signed in at the dashboard; then it asks for a token again.",
     land<&O::server, &ServerOptions::session_lifetime_ms>},
    {"server", "trusted_proxies", Type::kList, "", "", 0, kNoMax, "", 0,
     "Address ranges (CIDR) whose Forwarded and X-Forwarded-For headers name the client. From anybody else these headers are ignored and counted.",
     land<&O::server, &ServerOptions::proxy, &http::ProxyOptions::trusted>},
    {"server", "proxy_protocol", Type::kBool, "false", "", 0, kNoMax, "", 0,
     "Connections from trusted proxies begin with a PROXY protocol header (v1 or v2).",
     land<&O::server, &ServerOptions::proxy, &http::ProxyOptions::proxy_protocol>},

    // ---- reactor
    {"reactor", "slice_us", Type::kInteger, "500", "20", 1, 1'000'000, "", 0,
     "Microseconds one connection may hold its reactor for parsing in one turn; a larger batch goes on in later turns.",
     land<&O::reactor, &ReactorOptions::slice_us>},
    {"reactor", "ring_entries", Type::kInteger, "4096", "64", 8, 32'768, "", 0,
     "Submission queue of each io_uring. A smaller one is tried when locked memory is short.",
     land<&O::reactor, &ReactorOptions::ring_entries>},
    {"reactor", "receive_buffers", Type::kInteger, "1024", "16", 8, 32'768, "", 0,
     "Receive buffers per reactor; a power of two.",
     land<&O::reactor, &ReactorOptions::receive_buffers>},
    {"reactor", "receive_buffer_bytes", Type::kSize, "4KiB", "512B", 256, kMiB, "", 0,
     "Size of one receive buffer.",
     land<&O::reactor, &ReactorOptions::receive_buffer_bytes>},

    // ---- limits
    {"limits", "request_line_bytes", Type::kSize, "16KiB", "1KiB", 64, kMiB, "", kReloadable, "Request line; 414.",
     land<&O::limits, &L::request_line_bytes>},
    {"limits", "header_bytes", Type::kSize, "32KiB", "2KiB", 256, kMiB, "", kReloadable, "All request headers together; 431.",
     land<&O::limits, &L::header_bytes>},
    {"limits", "header_count", Type::kInteger, "100", "32", 1, 10'000, "", kReloadable, "Request headers; 431.",
     land<&O::limits, &L::header_count>},
    {"limits", "body_bytes", Type::kSize, "4MiB", "64KiB", 1, kGiB, "", kReloadable, "Request body as sent; 413.",
     land<&O::limits, &L::body_bytes>},
    {"limits", "decoded_body_bytes", Type::kSize, "16MiB", "256KiB", 1, kGiB, "", kReloadable, "Request body after decompression; 413.",
     land<&O::limits, &L::decoded_body_bytes>},
    {"limits", "expansion_ratio", Type::kInteger, "200", "", 1, 100'000, "", kReloadable,
     "Decompressed size divided by the size sent, checked past 64 KiB; 413.",
     land<&O::limits, &L::expansion_ratio>},
    {"limits", "body_memory_bytes", Type::kSize, "256MiB", "1MiB", 64 * kKiB, kTiB, "", kReloadable,
     "Memory of all request bodies of the process, held until their outcome; 503 past it.",
     land<&O::limits, &L::body_memory_bytes>},
    {"limits", "event_bytes", Type::kSize, "1MiB", "8KiB", 64, 64 * kMiB, "", kReloadable,
     "One event; larger ones are rejected as event_too_large. At most a quarter of store.segment_bytes.",
     land<&O::events, &E::event_bytes>},
    {"limits", "event_depth", Type::kInteger, "128", "16", 2, 128, "", kReloadable,
     "Nesting of one event; deeper ones are rejected.",
     land<&O::events, &E::depth>},
    {"limits", "request_events", Type::kInteger, "20000", "300", 1, 10'000'000, "", kReloadable,
     "Events in one request; 413.",
     land<&O::events, &E::events>},
    {"limits", "envelope_bytes", Type::kSize, "16KiB", "512B", 64, kMiB, "", kReloadable,
     "Batch-level fields (context, sentAt, …), which are stored with each event of the batch.",
     land<&O::events, &E::envelope_bytes>},
    {"limits", "encoded_bytes", Type::kSize, "32MiB", "256KiB", 4 * kKiB, kGiB, "", kReloadable,
     "What is stored of one request beside the clients' own bytes; 413.",
     land<&O::events, &E::encoded_bytes>},
    {"limits", "event_memory_bytes", Type::kSize, "128MiB", "2MiB", 64 * kKiB, kTiB, "", kReloadable,
     "Memory per reactor that events hold beside their bodies until their outcome; 503 past it.",
     land<&O::event_memory_bytes>},
    {"limits", "retry_after", Type::kSeconds, "5", "1", kSecond, kHour, "", kReloadable,
     "Retry-After of a 503, in whole seconds.",
     land<&O::retry_after_ms>},
    {"limits", "ready_percent", Type::kInteger, "80", "", 1, 100, "", kReloadable,
     "How full disk, memory or a backlog may be before /readyz turns red. docs/operation.md has the steps.",
     land<&O::store, &StoreOptions::pressure, &storage::PressureLimits::ready>},
    {"limits", "shed_low_percent", Type::kInteger, "85", "", 1, 100, "", kReloadable,
     "The same before events of low priority are refused with 503. 100: never before all others.",
     land<&O::store, &StoreOptions::pressure, &storage::PressureLimits::shed_low>},
    {"limits", "shed_normal_percent", Type::kInteger, "92", "", 1, 100, "", kReloadable,
     "The same before events of normal priority are. Those of high priority only at the limit itself.",
     land<&O::store, &StoreOptions::pressure, &storage::PressureLimits::shed_normal>},
    {"limits", "first_byte_timeout", Type::kDuration, "10s", "2s", 10, kHour, "", kReloadable,
     "From accept to the first byte; then the connection is closed.",
     land<&O::limits, &L::first_byte_ms>},
    {"limits", "head_timeout", Type::kDuration, "10s", "2s", 10, kHour, "", kReloadable,
     "From a request's first byte to the end of its headers; 408.",
     land<&O::limits, &L::head_ms>},
    {"limits", "body_gap_timeout", Type::kDuration, "10s", "2s", 10, kHour, "", kReloadable, "Between two bytes of a body; 408.",
     land<&O::limits, &L::body_gap_ms>},
    {"limits", "body_timeout", Type::kDuration, "60s", "5s", 10, kDay, "", kReloadable, "A whole body; 408.",
     land<&O::limits, &L::body_ms>},
    {"limits", "idle_timeout", Type::kDuration, "75s", "5s", 10, kDay, "", kReloadable,
     "Between requests of one connection; then it is closed.",
     land<&O::limits, &L::idle_ms>},
    {"limits", "send_stall_timeout", Type::kDuration, "30s", "3s", 10, kDay, "", kReloadable,
     "A client that reads nothing of its answer for so long is disconnected.",
     land<&O::limits, &L::send_stall_ms>},
    {"limits", "pipelined_requests", Type::kInteger, "64", "4", 1, 10'000, "", kReloadable,
     "Unanswered requests of one connection; then Weir reads on when some are answered.",
     land<&O::limits, &L::pipelined_requests>},
    {"limits", "requests_per_connection", Type::kInteger, "0", "", 0, 1'000'000'000, "", kReloadable,
     "Requests after which a connection is closed. 0: no limit.",
     land<&O::limits, &L::requests_per_connection>},

    // ---- store
    {"store", "directory", Type::kText, "./weir-data", "", 0, kNoMax, "", 0,
     "The data directory. One process at a time.",
     land<&O::store, &StoreOptions::directory>},
    {"store", "shards", Type::kInteger, "1", "", 1, storage::kMaxShards, "", 0,
     "Store writers. Fixed when the directory is created; one is best unless a single core cannot commit everything.",
     land<&O::store, &StoreOptions::shards>},
    {"store", "segment_bytes", Type::kSize, "256MiB", "1MiB", 512 * kKiB, kTiB, "", 0,
     "Size of one segment file.",
     land<&O::store, &StoreOptions::segment_bytes>},
    {"store", "zero_fill", Type::kBool, "true", "", 0, kNoMax, "", 0,
     "Fill the next segment with zeros before it is needed, where four segments' space is free. Halves the cost of a commit; every byte is written twice.",
     land<&O::store, &StoreOptions::zero_fill>},
    {"store", "segment_age", Type::kDuration, "1h", "5s", 100, kYear, "", 0,
     "A segment with events is closed at this age and a new one begun.",
     land<&O::store, &StoreOptions::segment_age_ms>},
    {"store", "max_bytes", Type::kSize, "0", "", 16 * kMiB, INT64_MAX, "", kZero,
     "Upper limit of the log; then events that everybody has finished go first, and after those new ones are refused with 503. 0: 80 % of the file system.",
     land<&O::store, &StoreOptions::max_bytes>},
    {"store", "reserve_bytes", Type::kSize, "64MiB", "4MiB", 0, kTiB, "", 0,
     "New events are refused with 503 while the file system has less than this free.",
     land<&O::store, &StoreOptions::reserve_bytes>},
    {"store", "retention", Type::kDuration, "7d", "", 0, 100 * kYear, "", 0,
     "How long events are kept after everybody has finished them.",
     land<&O::store, &StoreOptions::retention_ms>},
    {"store", "commit_max_events", Type::kInteger, "16384", "8", 1, 1'000'000, "", 0,
     "Events of one group commit at most.",
     land<&O::store, &StoreOptions::commit_max_events>},
    {"store", "commit_max_bytes", Type::kSize, "8MiB", "32KiB", 4 * kKiB, kGiB, "", 0,
     "Bytes of events of one group commit at most.",
     land<&O::store, &StoreOptions::commit_max_bytes>},
    {"store", "commit_deadline", Type::kDuration, "10s", "2s", 100, kHour, "", 0,
     "A sync that takes longer is answered 503 outcome_unknown, and new events are refused meanwhile.",
     land<&O::store, &StoreOptions::commit_deadline_ms>},
    {"store", "append_queue_bytes", Type::kSize, "256MiB", "1MiB", 64 * kKiB, kTiB, "", 0,
     "Events waiting for their commit; 503 past it.",
     land<&O::store, &StoreOptions::append_queue_bytes>},
    {"store", "state_bytes", Type::kSize, "64MiB", "4MiB", kMiB, 64 * kGiB, "", 0,
     "Size of the state file (positions, leases), filled with zeros when it is created so that it works on a full disk.",
     land<&O::store, &StoreOptions::state_bytes>},
    {"store", "dead_letter_max", Type::kInteger, "1000000", "50", 1, 1'000'000'000, "", 0,
     "Failed events kept. Past it a destination stops instead of losing events.",
     land<&O::store, &StoreOptions::dead_letter_max>},

    // ---- dedupe
    {"dedupe", "window", Type::kDuration, "24h", "", 0, kYear, "", 0,
     "How long an idempotency key is remembered, unless max_entries ends it earlier.",
     land<&O::store, &StoreOptions::dedupe_window_ms>},
    {"dedupe", "max_entries", Type::kInteger, "20000000", "2000", 0, 4'000'000'000, "", 0,
     "Idempotency keys remembered, at most 24 bytes of memory each. 20 million are 24 h at 231 new events a second.",
     land<&O::store, &StoreOptions::dedupe_max_entries>},

    // ---- forwarder
    {"forwarder", "max_memory_bytes", Type::kSize, "32MiB", "256KiB", 64 * kKiB, kTiB, "", 0,
     "Bodies of batches in memory, of all destinations together; each may always hold one batch beside that.",
     land<&O::forwarder, &forwarder::ForwarderOptions::max_memory_bytes>},

    // ---- pull
    {"pull", "max_events", Type::kInteger, "10000", "20", 1, 20'000, "", 0,
     "Events of one lease at most, whatever is asked for.",
     land<&O::pull, &PullOptions::max_events>},
    {"pull", "max_bytes", Type::kSize, "8MiB", "32KiB", kKiB, kGiB, "", 0,
     "Bytes of event records in one lease at most; one event always fits.",
     land<&O::pull, &PullOptions::max_bytes>},
    {"pull", "max_wait", Type::kDuration, "60s", "5s", 0, kHour, "", 0,
     "How long a lease request may wait for events at most.",
     land<&O::pull, &PullOptions::max_wait_ms>},
    {"pull", "max_lease", Type::kDuration, "12h", "", kSecond, kYear, "", 0,
     "How long a lease may be at most.",
     land<&O::pull, &PullOptions::max_lease_ms>},
    {"pull", "max_waiting", Type::kInteger, "1024", "8", 1, 1'000'000, "", 0,
     "Lease requests that wait for events at once; 503 past it.",
     land<&O::pull, &PullOptions::max_waiting>},
    {"pull", "max_consumers", Type::kInteger, "100", "8", 1, 10'000, "", 0,
     "Consumers, declared ones and those made at run time.",
     land<&O::pull, &PullOptions::max_consumers>},
    {"pull", "max_memory_bytes", Type::kSize, "64MiB", "256KiB", 64 * kKiB, kTiB, "", 0,
     "Leases in memory that were not sent yet: past it further ones wait, and 503 while clients do not read what was sent.",
     land<&O::pull, &PullOptions::max_memory_bytes>},

    // ---- stats
    {"stats", "cache_ttl", Type::kDuration, "1h", "2s", 0, kDay, "", kReloadable,
     "Age up to which exact counts are answered from the cache. An admin can force fresh ones; live counters are never cached.",
     land<&O::stats_cache_ttl_ms>},

    // ---- log
    {"log", "level", Type::kChoice, "info", "", 0, kNoMax, "debug|info|warn|error", kReloadable,
     "The least important lines to write.", land<&O::log, &log::Options::level>},
    {"log", "format", Type::kChoice, "logfmt", "", 0, kNoMax, "logfmt|json", kReloadable,
     "One line per message, as key=value or as JSON.", land<&O::log, &log::Options::format>},

    // ---- keys
    {"keys", "key", Type::kText, "", "", 0, kNoMax, "", kRequired | kSecret | kReloadable,
     "The text clients send.", land<&KeyOptions::key>},
    {"keys", "name", Type::kText, "", "", 0, kNoMax, "", kReloadable,
     "What events and metrics show instead of the key. Empty: nothing.", land<&KeyOptions::name>},
    {"keys", "tenant", Type::kText, "default", "", 0, kNoMax, "", kReloadable,
     "The tenant its events belong to.", land<&KeyOptions::tenant>},
    {"keys", "shop", Type::kText, "", "", 0, kNoMax, "", kReloadable,
     "The shop of events that name none.", land<&KeyOptions::shop>},
    {"keys", "origins", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Web origins that may use it, for example \"https://shop.example\". Empty: any.", land<&KeyOptions::origins>},
    {"keys", "require", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Fields an event must carry and that must be valid, for example campaign_id.", land<&KeyOptions::require>},
    {"keys", "patterns", Type::kMap, "", "", 0, kNoMax, "", kReloadable,
     "Regular expression (ECMAScript) a field must match as a whole. Without one: [A-Za-z0-9_.:-]{1,128}.", land<&KeyOptions::patterns>},
    {"keys", "allow", Type::kListMap, "", "", 0, kNoMax, "", kReloadable,
     "Values a field may have.", land<&KeyOptions::allow>},
    {"keys", "ack", Type::kList, "committed", "", 0, kNoMax, "", kReloadable,
     "Levels a client may ask for: committed, received.", land<&KeyOptions::ack>},
    {"keys", "priority", Type::kChoice, "normal", "", 0, kNoMax, "high|normal|low", kReloadable,
     "Priority of events that name none.", land<&KeyOptions::priority>},
    {"keys", "rate", Type::kInteger, "0", "", 0, 100'000'000, "", kReloadable,
     "Events a second it may send, in all shards together; past it 429 with Retry-After. 0: no limit.", land<&KeyOptions::rate>},
    {"keys", "rate_burst", Type::kInteger, "0", "", 0, 100'000'000, "", kReloadable,
     "Events it may send at once after a pause. 0: those of one second.", land<&KeyOptions::rate_burst>},
    {"keys", "site_ids", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Vendors' ids of clients that send no key (aid, d, website, idsite, measurement_id).", land<&KeyOptions::site_ids>},
    {"keys", "sandbox", Type::kBool, "false", "", 0, kNoMax, "", kReloadable,
     "Its events are stored and shown, never forwarded.", land<&KeyOptions::sandbox>},
    {"keys", "keep_ip", Type::kBool, "false", "", 0, kNoMax, "", kReloadable,
     "Store the client's address with its events.", land<&KeyOptions::keep_ip>},
    {"keys", "content_hash", Type::kChoice, "off", "", 0, kNoMax, "off|raw", kReloadable,
     "How to recognise repeated events without an id: not at all, or by their bytes.", land<&KeyOptions::content_hash>},

    // ---- destinations
    {"destinations", "name", Type::kText, "", "", 0, kNoMax, "", kRequired,
     "Its name in metrics, logs and commands; its position is kept under it.", land<&D::name>},
    {"destinations", "type", Type::kChoice, "http", "", 0, kNoMax, "http|kafka|clickhouse|postgresql|redis|file|stdout", 0,
     "The kind of receiver; docs/destinations.md describes each.", land<&D::type>},
    {"destinations", "url", Type::kText, "", "", 0, kNoMax, "", kUrl,
     "Where it is. Every type but file and stdout needs it. A user and password before the host are never printed.", land<&D::url>},
    {"destinations", "user", Type::kText, "", "", 0, kNoMax, "", 0,
     "clickhouse, postgresql, redis: who logs in. Empty: what the url or the server says.", land<&D::user>},
    {"destinations", "password", Type::kText, "", "", 0, kNoMax, "", kSecret,
     "clickhouse, postgresql, redis: the password.", land<&D::password>},
    {"destinations", "database", Type::kText, "default", "", 0, kNoMax, "", 0,
     "clickhouse: the database of the table.", land<&D::database>},
    {"destinations", "table", Type::kText, "weir_events", "", 0, kNoMax, "", 0,
     "clickhouse, postgresql: the table; for postgresql a schema may stand before a dot.", land<&D::table>},
    {"destinations", "create_table", Type::kBool, "true", "", 0, kNoMax, "", 0,
     "clickhouse, postgresql: make the table, and the partition of each day, when it is missing.", land<&D::create_table>},
    {"destinations", "stream", Type::kText, "weir:events", "", 0, kNoMax, "", 0,
     "redis: the key of the stream.", land<&D::stream>},
    {"destinations", "max_length", Type::kInteger, "0", "", 0, 1'000'000'000'000, "", 0,
     "redis: trim the stream to about so many entries, read or not. 0: never.", land<&D::max_length>},
    {"destinations", "topic", Type::kText, "weir-events", "", 0, kNoMax, "", 0,
     "kafka: the topic.", land<&D::topic>},
    {"destinations", "partition_key", Type::kChoice, "user", "", 0, kNoMax, "user|anonymous|session|shop|tenant|id|none", 0,
     "kafka: what decides the partition. user falls back to anonymous, that to session, that and shop to the event's id.", land<&D::partition_key>},
    {"destinations", "properties", Type::kMap, "", "", 0, kNoMax, "", kSecret,
     "kafka: librdkafka's own settings, for example { \"security.protocol\" = \"SASL_SSL\" }.", land<&D::properties>},
    {"destinations", "path", Type::kText, "", "", 0, kNoMax, "", 0,
     "file: the file events are appended to.", land<&D::path>},
    {"destinations", "rotate.bytes", Type::kSize, "256MiB", "64KiB", 0, kTiB, "", 0,
     "file: set aside, under a name with the time, once it is so large. 0: never.", land<&D::rotate, &RotateOptions::bytes>},
    {"destinations", "rotate.age", Type::kDuration, "1h", "", 0, kYear, "", 0,
     "file: the same once it is so old, with the next batch. 0: never.", land<&D::rotate, &RotateOptions::age_ms>},
    {"destinations", "format", Type::kChoice, "json", "", 0, kNoMax, "json|ndjson|cloudevents", 0,
     "Body: one JSON object, one event a line, or a CloudEvents 1.0 batch.", land<&D::format>},
    {"destinations", "compression", Type::kChoice, "gzip", "", 0, kNoMax, "none|gzip|zstd", 0,
     "Content-Encoding of the body.", land<&D::compression>},
    {"destinations", "concurrency", Type::kInteger, "4", "2", 1, 64, "", 0,
     "Batches in flight at once.", land<&D::concurrency>},
    {"destinations", "connect_timeout", Type::kDuration, "10s", "2s", 10, kHour, "", 0,
     "Time to connect.", land<&D::connect_timeout_ms>},
    {"destinations", "request_timeout", Type::kDuration, "60s", "5s", 10, kDay, "", 0,
     "Time of one request as a whole.", land<&D::request_timeout_ms>},
    {"destinations", "stall_timeout", Type::kDuration, "60s", "5s", 10, kDay, "", 0,
     "Not a byte in either direction for so long: the request is given up and retried.", land<&D::stall_timeout_ms>},
    {"destinations", "authorization", Type::kText, "", "", 0, kNoMax, "", kSecret,
     "Value of the Authorization header.", land_authorization},
    {"destinations", "headers", Type::kMap, "", "", 0, kNoMax, "", kSecret,
     "Further request headers.", land<&D::headers>},
    {"destinations", "hmac_key", Type::kText, "", "", 0, kNoMax, "", kSecret,
     "Key of the Weir-Signature header. Empty: none is sent.", land<&D::hmac_key>},
    {"destinations", "batch.max_events", Type::kInteger, "1000", "10", 1, 1'000'000, "", 0,
     "Events of one batch at most.", land<&D::batch, &BatchOptions::max_events>},
    {"destinations", "batch.max_bytes", Type::kSize, "4MiB", "32KiB", kKiB, kGiB, "", 0,
     "Event bytes of one batch at most, before encoding.", land<&D::batch, &BatchOptions::max_bytes>},
    {"destinations", "batch.linger", Type::kDuration, "200ms", "20ms", 0, kHour, "", 0,
     "A batch that is not full leaves after this long.", land<&D::batch, &BatchOptions::linger_ms>},
    {"destinations", "rate_limit.events", Type::kInteger, "0", "", 0, 1'000'000'000, "", 0,
     "Events a second sent at most. 0: no limit.", land<&D::rate_limit, &RateOptions::events>},
    {"destinations", "rate_limit.batches", Type::kInteger, "0", "", 0, 1'000'000, "", 0,
     "Batches a second sent at most. 0: no limit.", land<&D::rate_limit, &RateOptions::batches>},
    {"destinations", "retry.base", Type::kDuration, "500ms", "20ms", 1, kHour, "", 0,
     "Upper bound of the first pause; each further one doubles it. The pause is drawn between 0 and the bound.", land<&D::retry, &RetryOptions::base_ms>},
    {"destinations", "retry.cap", Type::kDuration, "5m", "1s", 1, kDay, "", 0,
     "Upper bound of any pause.", land<&D::retry, &RetryOptions::cap_ms>},
    {"destinations", "retry.window", Type::kDuration, "72h", "", kSecond, kYear, "", 0,
     "How long a batch is retried before its events count as failed.", land<&D::retry, &RetryOptions::window_ms>},
    {"destinations", "retry.max_attempts", Type::kInteger, "0", "", 0, 1'000'000, "", 0,
     "Attempts before its events count as failed. 0: only the window counts.", land<&D::retry, &RetryOptions::max_attempts>},
    {"destinations", "filter.tenants", Type::kList, "", "", 0, kNoMax, "", 0,
     "Send only events of these tenants. Empty: all.", land<&D::filter_tenants>},
    {"destinations", "filter.names", Type::kList, "", "", 0, kNoMax, "", 0,
     "Send only events of these names. Empty: all.", land<&D::filter_names>},
    {"destinations", "filter.sources", Type::kList, "", "", 0, kNoMax, "", 0,
     "Send only events that came over these protocols. Empty: all.", land<&D::filter_sources>},
    {"destinations", "tls.ca_file", Type::kText, "", "", 0, kNoMax, "", 0,
     "Certificates to trust (PEM). Empty: the system's.", land<&D::ca_file>},
    {"destinations", "tls.cert_file", Type::kText, "", "", 0, kNoMax, "", 0,
     "Client certificate (PEM).", land<&D::cert_file>},
    {"destinations", "tls.key_file", Type::kText, "", "", 0, kNoMax, "", 0,
     "Key of the client certificate (PEM).", land<&D::key_file>},
    {"destinations", "tls.verify", Type::kBool, "true", "", 0, kNoMax, "", 0,
     "Check the receiver's certificate and name.", land<&D::verify_tls>},
    {"destinations", "max_backlog_bytes", Type::kSize, "0", "", 0, kNoMax, "", 0,
     "Bytes of events that may wait for it. 0: only store.max_bytes counts.", land<&D::max_backlog_bytes>},
    {"destinations", "max_backlog_age", Type::kDuration, "0s", "", 0, 100 * kYear, "", 0,
     "How long events may wait for it. 0: no limit.", land<&D::max_backlog_age_ms>},
    {"destinations", "backlog_policy", Type::kChoice, "refuse_new", "", 0, kNoMax, "refuse_new|drop_oldest", 0,
     "At that limit: refuse new events with 503, or give up the oldest for this destination, counted as expired.", land<&D::backlog_policy>},

    // ---- consumers
    {"consumers", "name", Type::kText, "", "", 0, kNoMax, "", kRequired,
     "Its name in requests; its position is kept under it.", land<&C::lane, &LaneOptions::name>},
    {"consumers", "from", Type::kChoice, "earliest", "", 0, kNoMax, "earliest|latest", 0,
     "Where a new consumer starts.",
     [](void* to, const Value& value) { static_cast<C*>(to)->lane.from_latest = value.text == "latest"; }},
    {"consumers", "lease_seconds", Type::kSeconds, "300", "", kSecond, kYear, "", 0,
     "How long a lease is held that asks for nothing else; then its events are handed out again.", land<&C::lease_ms>},
    {"consumers", "max_deliveries", Type::kInteger, "16", "4", 0, 1'000'000, "", 0,
     "Deliveries after which an event becomes a failed one, reason max_deliveries. 0: no limit.", land<&C::max_deliveries>},
    {"consumers", "max_open_ranges", Type::kInteger, "4096", "24", 1, 30'000, "", 0,
     "Ranges of events that are leased, delayed or to be handed out again; past it nothing new is handed out until some close.", land<&C::max_open_ranges>},
    {"consumers", "max_idle", Type::kDuration, "7d", "", 0, 100 * kYear, "", 0,
     "A consumer nobody asked for so long no longer holds back retention: what retention would delete it gives up, counted as expired. 0: it holds for ever.", land<&C::lane, &LaneOptions::max_idle_ms>},
    {"consumers", "sandbox", Type::kBool, "false", "", 0, kNoMax, "", 0,
     "Hand out the events of sandbox keys too.", land<&C::sandbox>},
    {"consumers", "filter.tenants", Type::kList, "", "", 0, kNoMax, "", 0,
     "Hand out only events of these tenants. Empty: all. A token with tenants may use only consumers limited to those.", land<&C::filter_tenants>},
    {"consumers", "filter.names", Type::kList, "", "", 0, kNoMax, "", 0,
     "Hand out only events of these names. Empty: all.", land<&C::filter_names>},
    {"consumers", "filter.sources", Type::kList, "", "", 0, kNoMax, "", 0,
     "Hand out only events that came over these protocols. Empty: all.", land<&C::filter_sources>},
    {"consumers", "max_backlog_bytes", Type::kSize, "0", "", 0, kNoMax, "", 0,
     "Bytes of events that may wait for it. 0: only store.max_bytes counts.", land<&C::lane, &LaneOptions::max_backlog_bytes>},
    {"consumers", "max_backlog_age", Type::kDuration, "0s", "", 0, 100 * kYear, "", 0,
     "How long events may wait for it. 0: no limit.", land<&C::lane, &LaneOptions::max_backlog_age_ms>},
    {"consumers", "backlog_policy", Type::kChoice, "refuse_new", "", 0, kNoMax, "refuse_new|drop_oldest", 0,
     "At that limit: refuse new events with 503, or give up the oldest for this consumer, counted as expired.", land<&C::lane, &LaneOptions::policy>},

    // ---- tokens
    {"tokens", "name", Type::kText, "", "", 0, kNoMax, "", kRequired | kReloadable,
     "Who holds it, for the log.", land<&TokenOptions::name>},
    {"tokens", "hash", Type::kText, "", "", 0, kNoMax, "", kRequired | kSecret | kReloadable,
     "SHA-256 of the token, 64 hex digits: printf %s TOKEN | sha256sum.", land<&TokenOptions::hash>},
    {"tokens", "role", Type::kChoice, "admin", "", 0, kNoMax, "admin|agency|location|puller|metrics", kReloadable,
     "What it may do: admin everything, metrics only /metrics, puller only /pull/.", land<&TokenOptions::role>},
    {"tokens", "tenants", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Tenants it may see. Empty: all.", land<&TokenOptions::tenants>},
    {"tokens", "locations", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Locations it may see. Empty: all.", land<&TokenOptions::locations>},
    {"tokens", "consumers", Type::kList, "", "", 0, kNoMax, "", kReloadable,
     "Consumers a puller may use. Empty: all.", land<&TokenOptions::consumers>},
};
// clang-format on

// Levenshtein distance, for short names.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

template <class Rows, class Name>
std::string_view nearest(const Rows& rows, std::string_view wanted, Name name_of) {
  if (wanted.size() > 64) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, wanted.size() / 3) + 1;
  for (const auto& row : rows) {
    const std::string_view name = name_of(row);
    if (name.empty()) continue;
    size_t distance = edit_distance(wanted, name);
    // "max" for "max_bytes", "bytes" for "max_bytes": half of a name is a near miss as well.
    if (wanted.size() >= 3 && (name.starts_with(wanted) || name.ends_with(wanted)))
      distance = std::min<size_t>(distance, 2);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace

std::string_view OptionRow::effective_default() const {
#if defined(WEIR_TINY_LIMITS)
  if (!tiny_text.empty()) return tiny_text;
#endif
  return default_text;
}

bool OptionRow::reloadable() const {
  return (flags & kReloadable) != 0 || find_section(section)->reloadable;
}

std::string shown_value(const OptionRow& row, const Value& value) {
  if (row.secret() && !(value == Value())) return "(secret)";
  if (!row.url()) return to_toml(row.type, value);
  Value shown = value;
  shown.text = url_text(value.text);
  return to_toml(row.type, shown);
}

std::span<const SectionInfo> sections() { return kSections; }
std::span<const OptionRow> option_table() { return kTable; }

const SectionInfo* find_section(std::string_view name) {
  for (const SectionInfo& section : kSections)
    if (section.name == name) return &section;
  return nullptr;
}

const OptionRow* find_option(std::string_view section, std::string_view name) {
  for (const OptionRow& row : kTable)
    if (row.section == section && row.name == name) return &row;
  return nullptr;
}

bool is_option_group(std::string_view section, std::string_view name) {
  for (const OptionRow& row : kTable)
    if (row.section == section && row.name.size() > name.size() && row.name.starts_with(name) &&
        row.name[name.size()] == '.')
      return true;
  return false;
}

std::string_view nearest_section(std::string_view name) {
  return nearest(kSections, name, [](const SectionInfo& section) { return section.name; });
}

std::string_view nearest_option(std::string_view section, std::string_view name) {
  return nearest(kTable, name, [&](const OptionRow& row) {
    return row.section == section ? row.name : std::string_view();
  });
}

std::string_view section_with_option(std::string_view name) {
  for (const OptionRow& row : kTable)
    if (row.name == name) return row.section;
  return {};
}

}  // namespace weir::options
