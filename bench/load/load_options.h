// What one run of the load generator does. Filled from the command line by command_line.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::bench {

struct Url {
  bool tls = false;
  std::string host;
  std::string port;
  std::string path;
  bool has_path = false;  // the URL named one; else a shape's own path is used
};
// Accepts http:// and https:// with an optional port and path; false when it is neither.
bool parse_url(const std::string& text, Url* url);

// One kind of request in the mix; weight is relative to the others'.
struct MixEntry {
  double weight = 1;
  unsigned batch = 1;
  unsigned event_bytes = 400;  // of one event's JSON text; an event is never cut to fit
};

enum class BodyCoding : uint8_t { kNone, kGzip, kZstd };

struct LoadOptions {
  Url url;
  std::vector<std::string> keys;     // used in turn; empty: none sent where the shape needs none
  std::vector<std::string> headers;  // further request headers, "Name: value"
  std::string shape = "native";      // request_shapes.h
  unsigned connections = 64;         // of all threads together
  unsigned threads = 1;
  unsigned pipeline = 1;  // requests in flight per connection
  double rate = 0;        // requests per second in all; 0: closed loop
  int64_t warmup_ms = 1'000;
  int64_t duration_ms = 10'000;
  int64_t ramp_ms = 0;  // open loop: from 0 to rate over this long; closed: connections one by one
  std::vector<MixEntry> mix = {{}};
  double duplicates = 0;  // 0..1: how many events repeat an earlier id
  double malformed = 0;   // 0..1: how many requests are broken
  BodyCoding coding = BodyCoding::kNone;
  bool insecure = false;        // accept any certificate
  std::string engine = "auto";  // auto, io_uring, epoll
  std::vector<int> cpus;        // pin threads to these in turn
  std::string run_id;           // prefix of every event id, the same for a repeated run
  bool fresh_ids = true;        // run_id was never used before: no answer may name duplicates
  bool remember_acknowledged = false;  // for --verify: one bit per event id
  uint64_t max_requests = 0;           // stop after so many; 0: by time

  // Results hold one entry per interval: a second, longer in a soak, so that memory stays bounded.
  static constexpr int64_t kMaxIntervals = 600;
  int64_t interval_ms() const {
    const int64_t seconds = (duration_ms + kMaxIntervals * 1000 - 1) / (kMaxIntervals * 1000);
    return (seconds < 1 ? 1 : seconds) * 1000;
  }
};

}  // namespace weir::bench
