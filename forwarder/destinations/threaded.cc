#include "forwarder/destinations/threaded.h"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace weir::forwarder {

ThreadedDestination::ThreadedDestination(const std::string& name,
                                         std::vector<std::unique_ptr<BlockingSink>> sinks,
                                         EncoderFactory make_encoder, const Clock& clock)
    : make_encoder_(std::move(make_encoder)), clock_(clock) {
  for (auto& sink : sinks) {
    Worker& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.sink = std::move(sink);
    worker.thread = std::thread([this, &worker, name] {
      pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
      // A peer that went away is an error of the write, not the end of the process.
      sigset_t signals;
      sigfillset(&signals);
      pthread_sigmask(SIG_BLOCK, &signals, nullptr);
      run(worker);
    });
  }
}

ThreadedDestination::~ThreadedDestination() {
  abandon();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (const auto& worker : workers_) worker->thread.join();
}

void ThreadedDestination::send(Send& send) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(&send);
  }
  work_.notify_one();
}

Send* ThreadedDestination::take_finished() {
  const std::lock_guard lock(mutex_);
  // Under the lock, as the worker's notify(): a wake-up without a finished send would be possible
  // if a worker came between the two.
  finished_wakeup_.reset();
  return std::exchange(finished_, nullptr);
}

void ThreadedDestination::abandon() {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  finished_ = nullptr;
  for (const auto& worker : workers_)
    if (std::exchange(worker->current, nullptr) != nullptr) worker->cancel.request();
}

void ThreadedDestination::run(Worker& worker) {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    worker.current = queue_.front();
    queue_.pop_front();
    worker.cancel.clear();
    worker.batch_id = worker.current->batch_id;
    worker.body = worker.current->body;
    const uint64_t events = worker.current->events;
    lock.unlock();

    const int64_t started_ns = clock_.monotonic_ns();
    Outcome outcome = worker.sink->deliver(worker.batch_id, worker.body, events, worker.cancel);
    const int64_t duration_ns = clock_.monotonic_ns() - started_ns;

    lock.lock();
    Send* const send = std::exchange(worker.current, nullptr);
    if (send == nullptr) continue;
    send->outcome = std::move(outcome);
    send->duration_ns = duration_ns;
    send->next = finished_;
    finished_ = send;
    finished_wakeup_.notify();
  }
}

}  // namespace weir::forwarder
