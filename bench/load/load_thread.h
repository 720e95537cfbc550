// One load thread: its share of the connections, one request source, one transport.
//
// Closed loop: every connection sends its next request when the answer arrived. Open loop: requests
// are due at fixed moments whether or not the server keeps up, and a request's latency counts from
// the moment it was due, not from when a connection was free to send it (no coordinated omission).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/answer_parser.h"
#include "bench/load/histogram.h"
#include "bench/load/load_options.h"
#include "bench/load/request_source.h"
#include "bench/load/transport.h"

namespace weir::bench {

// What happened in one second (or in the whole run).
struct Tally {
  uint64_t requests = 0;
  uint64_t events = 0;      // in requests answered 2xx
  uint64_t duplicates = 0;  // of these, sent as duplicates on purpose
  uint64_t bytes_sent = 0;
  uint64_t wrong_answers =
      0;  // 2xx for malformed, an error for a good one, or counts that do not add up
  std::array<uint64_t, 6> status_class = {};  // [2] counts 2xx, …
  uint64_t status_503 = 0;
  uint64_t disconnects = 0;  // with requests in flight; their outcome is unknown
  uint64_t connect_errors = 0;
  LatencyHistogram latency;

  void add(const Tally& other);
};

// Ids acknowledged by one answer: [first, first + count) of the thread's counter; --verify checks
// them.
struct AcknowledgedRange {
  uint64_t first = 0;
  uint32_t count = 0;
};

class LoadThread : private TransportHandler {
 public:
  // start_ns: when the warm-up begins, the same for all threads (monotonic).
  LoadThread(const LoadOptions& options, unsigned thread, unsigned connections, int64_t start_ns);

  // Runs warm-up and measurement; returns when both are over or *stop is set.
  Status run(const std::atomic<bool>* stop);

  const std::vector<Tally>& seconds() const { return seconds_; }  // of the measurement only
  const Tally& whole() const { return whole_; }
  const std::vector<AcknowledgedRange>& acknowledged() const { return acknowledged_; }
  const RequestSource& source() const { return source_; }
  std::string transport_name() const { return transport_name_; }
  const std::string& first_wrong_answer() const { return first_wrong_answer_; }
  std::atomic<uint64_t>& live_requests() { return live_requests_; }

 private:
  struct InFlight {
    int64_t start_ns = 0;
    uint64_t first_id = 0;
    MadeRequest made;
  };
  struct Connection {
    std::string out;
    std::deque<InFlight> in_flight;
    AnswerParser parser;
    bool connected = false;
    bool sending = false;
    bool idle_listed = false;
    int64_t reconnect_ns = 0;
  };

  void on_connected(unsigned index) override;
  void on_data(unsigned index, std::string_view bytes) override;
  void on_sent(unsigned index) override;
  void on_disconnected(unsigned index, int os_errno) override;

  void on_answer(Connection& connection, const Answer& answer);
  bool answer_is_right(const MadeRequest& made, const Answer& answer) const;
  void fill(unsigned index);
  void add_request(Connection& connection, int64_t start_ns);
  void send_due(int64_t now_ns);
  double due_at(int64_t now_ns) const;
  Tally& tally_at(int64_t now_ns);
  int64_t next_deadline(int64_t now_ns) const;

  LoadOptions options_;
  RequestSource source_;
  std::vector<Connection> connections_;
  std::unique_ptr<Transport> transport_;
  std::string transport_name_;
  std::vector<unsigned> idle_;  // open loop: connections with a free slot
  std::vector<unsigned> reconnecting_;
  int64_t start_ns_;
  int64_t measure_ns_;
  int64_t end_ns_;
  int64_t now_ns_ = 0;
  bool finishing_ = false;
  uint64_t sent_due_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t requests_made_ = 0;
  double thread_rate_ = 0;
  std::vector<Tally> seconds_;
  Tally whole_;
  Tally warmup_;
  std::vector<AcknowledgedRange> acknowledged_;
  std::string scratch_;
  std::string first_wrong_answer_;
  std::atomic<uint64_t> live_requests_{0};
};

}  // namespace weir::bench
