// What one run of the load generator does. Filled from the command line by main.cc.
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
};
// Accepts http:// and https:// with an optional port and path; false when it is neither.
bool parse_url(const std::string& text, Url* url);

// One kind of request in the mix; weight is relative to the others'.
struct MixEntry {
  double weight = 1;
  unsigned batch = 1;
};

enum class Shape : uint8_t {
  kNative,   // an object, or an array when the batch is larger than one
  kNdjson,   // one object a line
  kSegment,  // @segment/analytics-node's /v1/batch
};

struct LoadOptions {
  Url url;
  std::vector<std::string> keys;  // X-Write-Key, in turn; empty: none sent
  unsigned connections = 64;      // of all threads together
  unsigned threads = 1;
  unsigned pipeline = 1;  // requests in flight per connection
  double rate = 0;        // events requests per second in all; 0: closed loop
  int64_t warmup_ms = 1'000;
  int64_t duration_ms = 10'000;
  int64_t ramp_ms = 0;  // open loop: from 0 to rate over this long
  std::vector<MixEntry> mix = {{}};
  unsigned event_bytes = 400;  // of one event's JSON text
  double duplicates = 0;       // 0..1: how many events repeat an earlier id
  double malformed = 0;        // 0..1: how many requests are not JSON
  Shape shape = Shape::kNative;
  bool gzip = false;
  bool insecure = false;        // accept any certificate
  std::string engine = "auto";  // auto, io_uring, epoll
  std::vector<int> cpus;        // pin threads to these in turn
  std::string run_id;           // prefix of every event id; random when empty
  uint64_t max_requests = 0;    // stop after so many; 0: by time
};

}  // namespace weir::bench
