// What happened in one interval, or in a whole run.
#pragma once

#include <array>
#include <cstdint>

#include "bench/load/histogram.h"

namespace weir::bench {

struct Tally {
  uint64_t requests = 0;    // answered
  uint64_t events = 0;      // in requests answered 2xx
  uint64_t duplicates = 0;  // of these, sent as duplicates on purpose
  uint64_t bytes_sent = 0;
  // 2xx for malformed, an error for a good one, or counts that do not add up
  uint64_t wrong_answers = 0;
  std::array<uint64_t, 6> status_class = {};  // [2] counts 2xx, …
  uint64_t status_503 = 0;
  uint64_t disconnects = 0;  // with requests in flight; their outcome is unknown
  uint64_t connect_errors = 0;
  LatencyHistogram latency;

  void add(const Tally& other) {
    requests += other.requests;
    events += other.events;
    duplicates += other.duplicates;
    bytes_sent += other.bytes_sent;
    wrong_answers += other.wrong_answers;
    for (size_t i = 0; i < status_class.size(); ++i) status_class[i] += other.status_class[i];
    status_503 += other.status_503;
    disconnects += other.disconnects;
    connect_errors += other.connect_errors;
    latency.add(other.latency);
  }
  // What a person watching wants to know about.
  uint64_t errors() const { return wrong_answers + status_class[5] + disconnects + connect_errors; }
};

}  // namespace weir::bench
