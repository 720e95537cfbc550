#include "collector/admin/worker.h"

#include <fmt/format.h>
#include <pthread.h>

#include <chrono>

namespace weir::admin {

Worker::Worker(Wakeup& done, std::function<void()> tick)
    : done_wakeup_(done), tick_(std::move(tick)), thread_([this] { run(); }) {}

Worker::~Worker() { stop(); }

bool Worker::submit(http::Exchange& exchange, std::function<Reply()> work) {
  std::lock_guard lock(mutex_);
  if (stopping_ || queue_.size() >= kMaxQueued) return false;
  queue_.push_back({&exchange, std::move(work), {}});
  changed_.notify_one();
  return true;
}

void Worker::run() {
  pthread_setname_np(pthread_self(), "weir-admin-work");
  std::unique_lock lock(mutex_);
  auto next_tick = std::chrono::steady_clock::now();
  while (!stopping_) {
    if (queue_.empty()) {
      changed_.wait_until(lock, next_tick);
    } else {
      Job job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job.reply = job.work();
      job.work = nullptr;
      lock.lock();
      done_.push_back(std::move(job));
      done_wakeup_.notify();
    }
    if (std::chrono::steady_clock::now() < next_tick || stopping_) continue;
    lock.unlock();
    if (tick_) tick_();
    lock.lock();
    next_tick = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  }
  for (Job& job : queue_) {
    job.reply = error_reply(503, "stopping", "the server is shutting down");
    done_.push_back(std::move(job));
  }
  queue_.clear();
  done_wakeup_.notify();
}

void Worker::answer_done() {
  std::vector<Job> ready;
  {
    std::lock_guard lock(mutex_);
    ready.swap(done_);
  }
  for (Job& job : ready) send_reply(*job.exchange, job.reply);
}

void Worker::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void send_reply(http::Exchange& exchange, const Reply& reply) {
  http::Response response;
  response.status = reply.status;
  response.content_type = reply.content_type;
  // Nothing here is what a browser might take it for, nor for pages of others.
  const std::string headers = fmt::format(
      "{}Cache-Control: {}\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: "
      "same-origin\r\n",
      reply.headers, reply.caching);
  response.extra_headers = headers;
  response.body = reply.body;
  response.retry_after_seconds = reply.retry_after_seconds;
  exchange.respond(response);
}

}  // namespace weir::admin
