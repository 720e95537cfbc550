// Every metric Weir exports, declared once: the exporter, the documentation (docs/metrics.md) and
// the code that counts all come from this table. Names follow the Prometheus conventions: base
// units, _total for counters. X(id, type, "name", unit_scale, "labels", "help"); unit_scale is what
// one unit of the code's cell is in the exported unit (1e-9: the code counts nanoseconds, the
// export is in seconds). Labels are separated by commas.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

// clang-format off
#define WEIR_METRIC_TABLE(X)                                                                                    \
  /* process */                                                                                                 \
  X(kBuildInfo, kGauge, "weir_build_info", 1, "version,kernel,liburing,lmdb", "Always 1; the labels say what runs")  \
  X(kStartTime, kGauge, "weir_start_time_seconds", 1, "", "When the process started, seconds since 1970")      \
  X(kProcessCpu, kCounter, "weir_process_cpu_seconds_total", 1e-9, "", "User and system CPU time of the process") \
  X(kProcessResident, kGauge, "weir_process_resident_bytes", 1, "", "Resident memory, mapped files included")   \
  X(kProcessAnonymous, kGauge, "weir_process_anonymous_bytes", 1, "", "Resident memory without mapped files (RssAnon)") \
  X(kProcessOpenFiles, kGauge, "weir_process_open_files", 1, "", "Open file descriptors")                      \
  X(kProcessMaxOpenFiles, kGauge, "weir_process_max_open_files", 1, "", "The limit of open file descriptors")  \
  X(kProcessThreads, kGauge, "weir_process_threads", 1, "", "Threads")                                         \
  X(kConfigReloads, kCounter, "weir_config_reloads_total", 1, "outcome", "Reloads of the configuration: applied, refused") \
  /* reactor */                                                                                                 \
  X(kConnectionsOpen, kGauge, "weir_connections_open", 1, "listener", "Open client connections")               \
  X(kConnectionsTotal, kCounter, "weir_connections_total", 1, "listener", "Client connections accepted")       \
  X(kConnectionsRefused, kCounter, "weir_connections_refused_total", 1, "listener,reason", "Connections closed at accept because of a limit") \
  X(kReactorTurns, kCounter, "weir_reactor_turns_total", 1, "", "Turns of the event loops")                    \
  X(kReactorAcceptRearmed, kCounter, "weir_reactor_accept_rearmed_total", 1, "reason", "Multishot accepts that ended and were armed again") \
  X(kReactorStarved, kCounter, "weir_reactor_buffer_starved_total", 1, "", "Receives that found no free buffer and waited") \
  X(kReactorCqOverflow, kCounter, "weir_reactor_cq_overflow_total", 1, "", "Completion queue overflows survived") \
  X(kReactorStaleCompletions, kCounter, "weir_reactor_stale_completions_total", 1, "", "Completions of an operation nobody waits for any more; always 0 unless there is a bug") \
  X(kReactorEnterRetries, kCounter, "weir_reactor_enter_retries_total", 1, "", "Interrupted or postponed io_uring_enter calls, tried again in the next turn") \
  X(kReceivedBytes, kCounter, "weir_received_bytes_total", 1, "", "Bytes received from clients")               \
  X(kSentBytes, kCounter, "weir_sent_bytes_total", 1, "", "Bytes sent to clients")                             \
  /* http */                                                                                                    \
  X(kHttpRequests, kCounter, "weir_http_requests_total", 1, "protocol,status", "Requests answered")            \
  X(kHttpErrors, kCounter, "weir_http_errors_total", 1, "code", "Requests refused before they reached a protocol, by error code") \
  X(kHttpLimits, kCounter, "weir_http_limit_hits_total", 1, "limit", "Times a client met a limit")             \
  X(kProxyHeadersIgnored, kCounter, "weir_http_forwarding_headers_ignored_total", 1, "", "Forwarding headers from peers that are not trusted") \
  X(kRequestSeconds, kHistogram, "weir_http_request_seconds", 1e-9, "", "From the complete request to the answer handed to the socket") \
  X(kBodyBudgetUsed, kGauge, "weir_body_budget_used_bytes", 1, "", "Memory held by request bodies until their outcome") \
  X(kBodyBudgetLimit, kGauge, "weir_body_budget_limit_bytes", 1, "", "limits.body_memory_bytes")                     \
  /* events */                                                                                                  \
  X(kEvents, kCounter, "weir_events_total", 1, "protocol,outcome,reason", "Events by outcome: stored, duplicate, rejected, refused") \
  X(kParseSliceSeconds, kHistogram, "weir_parse_slice_seconds", 1e-9, "", "Time one connection held the reactor for parsing in one turn") \
  X(kParseSliceOverruns, kCounter, "weir_parse_slice_overruns_total", 1, "", "Slices longer than reactor.slice_us") \
  X(kRequestSlices, kHistogram, "weir_request_slices", 1, "", "Slices one request took")                       \
  X(kPipelineErrors, kCounter, "weir_pipeline_unavailable_total", 1, "reason", "Requests answered 503, by reason") \
  X(kEventsShed, kCounter, "weir_events_shed_total", 1, "priority,cause", "Events refused under pressure by their priority (low, normal), by what was short: disk, memory, lag") \
  X(kRateLimited, kCounter, "weir_rate_limited_requests_total", 1, "key", "Requests over the rate of their write key, answered 429; by the name of the key") \
  X(kPressurePercent, kGauge, "weir_pressure_percent", 1, "cause", "How much of disk, memory and backlog limits is used up; at 100 new events are refused") \
  X(kPressureLevel, kGauge, "weir_pressure_level", 1, "", "By disk and lag: 0 none, 1 not ready, 2 low priority is shed, 3 normal too") \
  /* store */                                                                                                   \
  X(kCommitSeconds, kHistogram, "weir_commit_seconds", 1e-9, "shard", "One group commit, from its first event taken to durable") \
  X(kSyncSeconds, kHistogram, "weir_sync_seconds", 1e-9, "shard", "The commit call itself: write, fdatasync, meta page") \
  X(kCommitEvents, kHistogram, "weir_commit_events", 1, "shard", "Events in one group commit")                 \
  X(kCommitBytes, kHistogram, "weir_commit_bytes", 1, "shard", "Bytes of event records in one group commit")   \
  X(kAppendQueue, kGauge, "weir_append_queue_requests", 1, "shard", "Append requests waiting for a commit")    \
  X(kStoreState, kGauge, "weir_store_accepting", 1, "", "1 when the next commit can succeed, 0 when new events are refused") \
  X(kStoreRefusals, kCounter, "weir_store_refused_requests_total", 1, "reason", "Append requests refused by the store") \
  X(kStoreEvents, kGauge, "weir_store_events", 1, "shard", "Events on disk")                                   \
  X(kStoreBytes, kGauge, "weir_store_bytes", 1, "shard", "Bytes of the segment files")                         \
  X(kStoreSegments, kGauge, "weir_store_segments", 1, "shard,state", "Segment files by state: active, sealed, damaged") \
  X(kStoreMaxBytes, kGauge, "weir_store_max_bytes", 1, "", "store.max_bytes")                                  \
  X(kDiskFreeBytes, kGauge, "weir_disk_free_bytes", 1, "", "Free bytes on the data directory's file system")   \
  X(kOldestPending, kGauge, "weir_oldest_pending_seconds", 1, "", "Age of the oldest event some destination or consumer has not finished") \
  X(kDedupeEntries, kGauge, "weir_dedupe_entries", 1, "shard", "Fingerprints in memory")                       \
  X(kDedupeWindow, kGauge, "weir_dedupe_window_seconds", 1, "shard", "The effective window: age of the oldest fingerprint still known") \
  X(kDedupeEvicted, kCounter, "weir_dedupe_evicted_total", 1, "shard,reason", "Fingerprints forgotten: window (aged out) or cap (dedupe.max_entries)") \
  X(kDedupeBytes, kGauge, "weir_dedupe_bytes", 1, "shard", "Memory of the dedupe index")                       \
  X(kSegmentsDeleted, kCounter, "weir_segments_deleted_total", 1, "reason", "Segments deleted, by what released them") \
  X(kEventsExpired, kCounter, "weir_events_expired_total", 1, "lane,reason", "Events a lane gave up because of max_backlog or its retry window") \
  X(kDamagedSegments, kCounter, "weir_damaged_files_total", 1, "kind", "Files set aside because they were damaged") \
  X(kDamagedRecords, kCounter, "weir_damaged_records_total", 1, "", "Events that failed their checksum when they were read and were skipped") \
  X(kStateCommitSeconds, kHistogram, "weir_state_commit_seconds", 1e-9, "", "One commit of the state environment") \
  /* forwarder */                                                                                               \
  X(kForwardAttempts, kCounter, "weir_forward_attempts_total", 1, "destination,class", "Sends by outcome class: delivered, retry, split, reject, network") \
  X(kForwardEvents, kCounter, "weir_forward_events_total", 1, "destination,outcome", "Events by final outcome: sent, failed, expired, skipped (filtered out, sandbox), missing (gone from the store)") \
  X(kForwardSeconds, kHistogram, "weir_forward_request_seconds", 1e-9, "destination", "One request to a destination") \
  X(kForwardBytes, kCounter, "weir_forward_bytes_total", 1, "destination", "Body bytes sent, after compression") \
  X(kForwardPending, kGauge, "weir_forward_pending_events", 1, "destination", "Events not yet finished for a destination") \
  X(kForwardOldest, kGauge, "weir_forward_oldest_unsent_seconds", 1, "destination", "Age of the oldest unfinished event") \
  X(kForwardInFlight, kGauge, "weir_forward_in_flight_batches", 1, "destination", "Batches with a durable id that are not finished") \
  X(kForwardState, kGauge, "weir_forward_lane_state", 1, "destination,state", "1 for the state the lane is in: idle, sending, backing_off, stopped") \
  X(kDeadLetters, kGauge, "weir_dead_letters", 1, "lane,reason", "Failed events kept for inspection")          \
  /* pull */                                                                                                    \
  X(kPullRequests, kCounter, "weir_pull_requests_total", 1, "operation,status", "Requests of pulling servers answered") \
  X(kPullEvents, kCounter, "weir_pull_events_total", 1, "consumer,outcome", "Events by what happened: leased, redelivered, acked, nacked, rejected, max_deliveries (dead letter), released, lease_expired, skipped (filtered out, sandbox), missing (gone from the store)") \
  X(kPullBytes, kCounter, "weir_pull_bytes_total", 1, "consumer", "Body bytes of leases, after compression") \
  X(kPullLeases, kGauge, "weir_pull_leases_active", 1, "consumer", "Leases that are held")                     \
  X(kPullLeasedEvents, kGauge, "weir_pull_leased_events", 1, "consumer", "Events in them")                     \
  X(kPullOpenRanges, kGauge, "weir_pull_open_ranges", 1, "consumer", "Durable ranges that are leased, delayed or wait to be handed out again") \
  X(kPullWaiting, kGauge, "weir_pull_waiting_requests", 1, "consumer", "Long polls that wait for events")      \
  X(kPullOldest, kGauge, "weir_pull_oldest_unacked_seconds", 1, "consumer", "Age of the oldest event that was not acknowledged") \
  /* admin */                                                                                                   \
  X(kStatsComputed, kCounter, "weir_stats_computed_total", 1, "cause", "Fresh counts: expired cache or forced") \
  X(kStreamSubscribers, kGauge, "weir_stream_subscribers", 1, "topic", "Clients that listen to a stream of the admin listener") \
  X(kStreamFrames, kCounter, "weir_stream_frames_total", 1, "topic,outcome", "Frames for subscribers: sent, or skipped because the client reads too slowly") \
  X(kTailDropped, kCounter, "weir_tail_dropped_total", 1, "", "Events that were not shown to watchers because they or the bound were too slow") \
  X(kLogDropped, kCounter, "weir_log_lines_dropped_total", 1, "", "Log lines dropped by the rate limit")
// clang-format on

namespace weir {

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

enum class Metric : uint16_t {
#define WEIR_METRIC_ENUM(id, type, name, scale, labels, help) id,
  WEIR_METRIC_TABLE(WEIR_METRIC_ENUM)
#undef WEIR_METRIC_ENUM
};

struct MetricInfo {
  Metric metric;
  MetricType type;
  std::string_view name;
  double unit_scale;
  std::string_view labels;
  std::string_view help;
};

// In the order of the table.
std::span<const MetricInfo> metric_table();
const MetricInfo& metric_info(Metric metric);

}  // namespace weir
