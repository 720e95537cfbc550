// One load thread: its share of the connections, one request source, one transport.
//
// Closed loop: every connection sends its next request when the answer arrived. Open loop: requests
// are due at fixed moments whether or not the server keeps up, and a request's latency counts from
// the moment it was due, not from when a connection was free to send it (no coordinated omission).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bench/load/answer_parser.h"
#include "bench/load/load_options.h"
#include "bench/load/request_source.h"
#include "bench/load/tally.h"
#include "bench/load/transport.h"

namespace weir::bench {

// The last complete second, for whoever watches.
struct LiveSecond {
  Tally tally;
  uint64_t number = 0;  // counts up; 0: none yet
};

class LoadThread : private TransportHandler {
 public:
  LoadThread(const LoadOptions& options, unsigned thread, unsigned connections);

  // Before run(). start_ns: when the warm-up begins, the same for all threads (monotonic).
  void schedule(int64_t start_ns);

  // Runs warm-up and measurement; returns when both are over or *stop is set.
  Status run(const std::atomic<bool>* stop);

  // Any thread, while it runs.
  LiveSecond live();

  // After run():
  const std::vector<Tally>& intervals() const { return intervals_; }  // of the measurement only
  // One bit per id of this thread, set when the event was acknowledged; only when asked for.
  const std::vector<bool>& acknowledged() const { return acknowledged_; }
  std::string transport_name() const { return transport_name_; }
  const std::string& first_wrong_answer() const { return first_wrong_answer_; }
  double cpu_seconds() const { return cpu_seconds_; }  // of this thread, during the measurement

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
  void remember(const InFlight& request);
  void fill(unsigned index);
  void add_request(Connection& connection, int64_t start_ns);
  void connect_due();
  void send_due(int64_t now_ns);
  double due_at(int64_t now_ns) const;
  int64_t due_time_ns(double number) const;
  void close_second();
  int64_t next_deadline(int64_t now_ns) const;

  LoadOptions options_;
  RequestSource source_;
  std::vector<Connection> connections_;
  std::unique_ptr<Transport> transport_;
  std::string transport_name_;
  std::vector<unsigned> idle_;  // open loop: connections with a free slot
  std::vector<unsigned> waiting_to_connect_;
  int64_t start_ns_ = 0;
  int64_t measure_ns_ = 0;
  int64_t end_ns_ = 0;
  int64_t second_end_ns_ = 0;
  int64_t now_ns_ = 0;
  bool finishing_ = false;
  uint64_t sent_due_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t requests_made_ = 0;
  uint64_t most_requests_ = UINT64_MAX;
  double thread_rate_ = 0;
  Tally second_;  // the one that runs
  std::vector<Tally> intervals_;
  std::vector<bool> acknowledged_;
  std::string first_wrong_answer_;
  double cpu_before_ = -1;
  double cpu_seconds_ = 0;
  std::string scratch_;
  std::mutex live_lock_;
  LiveSecond live_;
};

}  // namespace weir::bench
