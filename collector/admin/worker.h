// One thread for what may block (exact counts, dead letters, a reload), so that /livez and /metrics
// are answered meanwhile. Its queue is bounded; past it the answer is 503.
// Thread: submit() and answer_done() belong to the admin loop; work and tick run on the worker.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "collector/admin/reply.h"
#include "collector/http/exchange.h"
#include "storage/base/wakeup.h"

namespace weir::admin {

class Worker {
 public:
  static constexpr size_t kMaxQueued = 32;

  // done is notified when an answer waits. tick runs about once a second, between jobs.
  Worker(Wakeup& done, std::function<void()> tick);
  ~Worker();

  // False when the queue is full: the caller answers. Otherwise the exchange is answered later.
  bool submit(http::Exchange& exchange, std::function<Reply()> work);
  // Sends what is ready. THREAD: the loop's.
  void answer_done();
  // Finishes the running job; queued ones become 503. Call answer_done() once more afterwards.
  void stop();

 private:
  struct Job {
    http::Exchange* exchange = nullptr;
    std::function<Reply()> work;
    Reply reply;
  };
  void run();

  Wakeup& done_wakeup_;
  std::function<void()> tick_;
  std::mutex mutex_;  // guards the four below
  std::condition_variable changed_;
  std::deque<Job> queue_;
  std::vector<Job> done_;
  bool stopping_ = false;
  std::thread thread_;
};

void send_reply(http::Exchange& exchange, const Reply& reply);

}  // namespace weir::admin
