#include "collector/shard.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/base/check.h"

namespace weir {
namespace {

constexpr int64_t kDrainLookNs = 10'000'000;

}  // namespace

LoopThread::LoopThread(reactor::Loop& loop, std::string name)
    : loop_(loop), name_(std::move(name)) {
  loop_.on_wakeup([this] { run_posted(); });
}

LoopThread::~LoopThread() { stop(); }

void LoopThread::start() {
  thread_ = std::thread([this] { loop_.run(); });
}

void LoopThread::post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  loop_.wakeup().notify();
}

void LoopThread::run_posted() {
  std::vector<std::function<void()>> work;
  {
    std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (const auto& item : work) item();
}

void LoopThread::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

Result<std::unique_ptr<Shard>> Shard::create(const ShardOptions& options, const ShardDeps& deps,
                                             std::shared_ptr<const event::KeyTable> keys) {
  std::unique_ptr<Shard> shard(new Shard());
  WEIR_ASSIGN_OR_RETURN(shard->loop_, reactor::Loop::create(options.loop, deps.metrics));
  shard->thread_ = std::make_unique<LoopThread>(*shard->loop_, options.loop.name);
  shard->pipeline_ = Pipeline::create(
      options.pipeline,
      {*shard->loop_, deps.store, deps.clock, deps.metrics, &deps.budget, nullptr, &deps.pressure},
      std::move(keys));
  WEIR_ASSIGN_OR_RETURN(shard->server_,
                        http::Server::create(options.server, *shard->loop_, *shard->pipeline_,
                                             deps.budget, deps.metrics));
  WEIR_ASSIGN_OR_RETURN(shard->listener_, shard->loop_->listen(options.listener, *shard->server_));
  shard->drain_watch_ = std::make_unique<DrainWatch>(*shard);
  return shard;
}

Shard::~Shard() { stop(); }

void Shard::set_keys(std::shared_ptr<const event::KeyTable> keys) {
  thread_->post([this, keys = std::move(keys)] { pipeline_->set_keys(keys); });
}

void Shard::set_tap(std::shared_ptr<const TapWatch> watch) {
  thread_->post(
      [this, watch = std::move(watch)]() mutable { pipeline_->set_tap(std::move(watch)); });
}

void Shard::set_limits(const http::Limits& limits, const PipelineLimits& events) {
  thread_->post([this, limits, events] {
    server_->set_limits(limits);
    pipeline_->set_limits(events);
  });
}

void Shard::begin_drain() {
  thread_->post([this] {
    listener_->stop_accepting();
    server_->drain();
    loop_->arm(*drain_watch_, 0);
  });
}

void Shard::DrainWatch::on_timer() {
  Shard& shard = shard_;
  // A connection in the middle of a request counts; idle ones were closed by drain().
  if (shard.listener_->connections() == 0 && shard.server_->busy_exchanges() == 0 &&
      shard.pipeline_->in_flight() == 0)
    shard.drained_.store(true, std::memory_order_release);
  else
    shard.loop_->arm(*this, kDrainLookNs);
}

void Shard::stop() {
  if (thread_ != nullptr) thread_->stop();  // null when create() failed half way
}

Status check_port_free(const std::string& ip, uint16_t port) {
  if (port == 0) return {};
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_in);
  auto* four = reinterpret_cast<sockaddr_in*>(&storage);
  if (inet_pton(AF_INET, ip.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
  } else {
    auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
    inet_pton(AF_INET6, ip.c_str(), &six->sin6_addr);
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    size = sizeof(sockaddr_in6);
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail_errno(errno, "cannot make a socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const int bound = bind(fd, reinterpret_cast<sockaddr*>(&storage), size);
  const int why = errno;
  close(fd);
  if (bound == 0) return {};
  return fail_errno(why, "cannot listen on {}:{}", ip, port);
}

}  // namespace weir
