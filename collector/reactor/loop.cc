#include "collector/reactor/loop.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "collector/reactor/denial.h"
#include "collector/reactor/loop_impl.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/log.h"

namespace weir::reactor {
namespace {

// Asks for short and therefore prompt turns on a core others want too: woken, the thread displaces
// one with a longer slice (EEVDF; sched(7), kernel 6.12. Older ones ignore the wish, a sandbox may
// refuse it: nothing but time is lost). A policy or a nice value somebody chose stays.
void request_slice(uint64_t nanoseconds) {
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  struct {  // sched_attr of linux/sched/types.h, which newer C libraries define as well
    uint32_t size = 48;
    uint32_t policy = SCHED_OTHER;
    uint64_t flags = 0;
    int32_t nice = 0;
    uint32_t priority = 0;
    uint64_t runtime = 0;
    uint64_t deadline = 0;
    uint64_t period = 0;
  } attributes;
  static_assert(sizeof attributes == 48);
  attributes.nice = getpriority(PRIO_PROCESS, 0);  // of this thread
  attributes.runtime = nanoseconds;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create(const LoopOptions& options, MetricRegistry& metrics) {
  const bool valid =
      options.ring_entries > 0 && options.ring_entries <= kMaxRingEntries &&
      options.completion_entries >= options.ring_entries && options.receive_buffer_bytes > 0 &&
      std::has_single_bit(options.receive_buffers) && options.receive_buffers <= kMaxReceiveBuffers;
  if (!valid)
    return fail(
        ErrorCode::kInvalidArgument,
        "cannot create a reactor with {} ring entries (1 to {}), {} completion entries (not "
        "fewer), {} receive buffers (a power of two up to {}) of {} bytes",
        options.ring_entries, kMaxRingEntries, options.completion_entries, options.receive_buffers,
        kMaxReceiveBuffers, options.receive_buffer_bytes);
  auto loop = std::make_unique<LoopImpl>(options, metrics);
  WEIR_RETURN_IF_ERROR(loop->set_up());
  return loop;
}

LoopCounters::LoopCounters(MetricRegistry& metrics)
    : turns(metrics.counter(Metric::kReactorTurns)),
      starved(metrics.counter(Metric::kReactorStarved)),
      received_bytes(metrics.counter(Metric::kReceivedBytes)),
      sent_bytes(metrics.counter(Metric::kSentBytes)) {}

LoopImpl::LoopImpl(const LoopOptions& options, MetricRegistry& metrics)
    : options_(options),
      metrics_(metrics),
      counters_(metrics),
      streams_(*this),
      timers_(Clock::system().monotonic_ns()) {
  wakeup_read_.bind<&LoopImpl::on_wakeup_read>(this);
  wakeup_cancel_.bind<&LoopImpl::on_wakeup_cancelled>(this);
  read_clocks();
}

LoopImpl::~LoopImpl() = default;

Status LoopImpl::set_up() {
  WEIR_RETURN_IF_ERROR(probe_ring());
  const RingCounters rare{metrics_.counter(Metric::kReactorCqOverflow),
                          metrics_.counter(Metric::kReactorStaleCompletions),
                          metrics_.counter(Metric::kReactorEnterRetries)};
  WEIR_ASSIGN_OR_RETURN(ring_,
                        Ring::create(options_.ring_entries, options_.completion_entries, rare));
  if (ring_->entries() < options_.ring_entries)
    log::warn("ring_shrunk", {{"entries", ring_->entries()},
                              {"wanted", options_.ring_entries},
                              {"hint", "raise LimitMEMLOCK= or ulimit -l"}});
  WEIR_ASSIGN_OR_RETURN(buffers_, BufferPool::create(*ring_, options_.receive_buffers,
                                                     options_.receive_buffer_bytes));
  return {};
}

// --- running

void LoopImpl::run() {
  WEIR_CHECK(thread_ == std::thread::id(), "a loop runs once");
  thread_ = std::this_thread::get_id();
  prepare_thread();
  read_clocks();
  ring_->enable();
  watch_wakeup();
  for (auto& listener : listeners_) listener->arm();
  while (!stop_requested_.load(std::memory_order_acquire)) turn();
  shut_down();
}

void LoopImpl::prepare_thread() const {
  pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
  if (options_.slice_ns > 0) request_slice(options_.slice_ns);
  if (options_.cpu < 0) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(options_.cpu), &cpus);
  const int error = pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
  if (error != 0)
    log::warn("cpu_pinning_failed",
              {{"thread", options_.name}, {"cpu", options_.cpu}, {"errno", error}});
}

void LoopImpl::turn() {
  ring_->submit_and_wait(sleep_ns());
  counters_.turns.add();
  read_clocks();
  ring_->reap();
  ring_->deliver_reaped();
  timers_.expire(now_ns_);
  run_tasks();
  serve_starved();
  for (TurnHook* hook : hooks_) hook->before_sleep();
}

// Zero while there is work that no completion announces.
int64_t LoopImpl::sleep_ns() {
  if (!tasks_.empty() || !starved_.empty() || ring_->has_reaped()) return 0;
  int64_t deadline = timers_.next_deadline_ns();
  if (give_up_ns_ >= 0) deadline = deadline < 0 ? give_up_ns_ : std::min(deadline, give_up_ns_);
  if (deadline < 0) return -1;
  return std::max<int64_t>(deadline - now_ns_, 0);
}

void LoopImpl::read_clocks() {
  now_ns_ = Clock::system().monotonic_ns();
  wall_ms_ = Clock::system().wall_ms();
}

void LoopImpl::run_tasks() {
  LinkList due;  // what a task defers waits for the next turn, so that input is read in between
  due.take_all(tasks_);
  while (ListLink* link = due.pop_front()) static_cast<Task*>(link)->run();
}

// First come, first served; each may take a buffer, so more than there are would starve again.
void LoopImpl::serve_starved() {
  for (unsigned i = 0; i < buffers_->count(); ++i) {
    ListLink* link = starved_.pop_front();
    if (link == nullptr) return;
    static_cast<SocketStream::StarvedLink*>(link)->stream.receive_after_starving();
  }
}

// --- what others ask for

Result<Listener*> LoopImpl::listen(const ListenerOptions& options, ConnectionFactory& factory) {
  WEIR_CHECK(on_own_thread());
  WEIR_ASSIGN_OR_RETURN(auto listener, SocketListener::create(*this, options, factory, metrics_));
  listeners_.push_back(std::move(listener));
  if (thread_ != std::thread::id()) listeners_.back()->arm();
  return listeners_.back().get();
}

void LoopImpl::defer(Task& task) {
  WEIR_DIAGNOSTIC(on_own_thread());
  if (!task.queued()) tasks_.push_back(task);
}

void LoopImpl::arm(Timer& timer, int64_t delay_ns) {
  WEIR_DIAGNOSTIC(on_own_thread());
  timers_.arm(timer, now_ns_ + std::max<int64_t>(delay_ns, 0));
}

void LoopImpl::cancel(Timer& timer) {
  WEIR_DIAGNOSTIC(on_own_thread());
  TimerWheel::cancel(timer);
}

void LoopImpl::add_turn_hook(TurnHook& hook) {
  WEIR_CHECK(on_own_thread());
  hooks_.push_back(&hook);
}

void LoopImpl::on_wakeup(std::function<void()> callback) {
  WEIR_CHECK(on_own_thread());
  wakeup_callbacks_.push_back(std::move(callback));
}

bool LoopImpl::on_own_thread() const {
  return thread_ == std::thread::id() || thread_ == std::this_thread::get_id();
}

// --- wake-ups from other threads

void LoopImpl::watch_wakeup() {
  ring_->read(wakeup_read_, wakeup_.fd(), &wakeup_count_, sizeof wakeup_count_);
}

void LoopImpl::on_wakeup_read(const CompletionEvent& event) {
  if (event.result == -ECANCELED) return;
  // Before looking at what waits: a notification from now on writes the eventfd again.
  wakeup_.rearm();
  for (auto& callback : wakeup_callbacks_) callback();
  if (!shutting_down_) watch_wakeup();
}

// --- stopping

void LoopImpl::stop() {
  stop_requested_.store(true, std::memory_order_release);
  wakeup_.notify();
}

void LoopImpl::shut_down() {
  for (auto& listener : listeners_) listener->stop_accepting();
  streams_.for_each_open([](SocketStream& stream) { stream.close(); });
  give_up_ns_ = now_ns_ + options_.close_timeout_ns;
  // Wake-ups go on meanwhile: others may still hand back what they borrowed from a handler.
  while (streams_.open() > 0 && now_ns_ < give_up_ns_) turn();
  shutting_down_ = true;
  if (wakeup_read_.in_flight()) ring_->cancel(wakeup_cancel_, wakeup_read_);
  while (!everything_closed() && now_ns_ < give_up_ns_) turn();
  ring_->release_thread();
  if (everything_closed()) return;
  log::error("close_timeout", {{"reactor", options_.name}, {"connections", streams_.open()}});
  ring_.reset();
  streams_.for_each_open([](SocketStream& stream) { stream.close_without_ring(); });
}

bool LoopImpl::everything_closed() const {
  const bool listening = std::any_of(listeners_.begin(), listeners_.end(),
                                     [](const auto& listener) { return !listener->stopped(); });
  return streams_.open() == 0 && !listening && !wakeup_read_.in_flight() &&
         !wakeup_cancel_.in_flight();
}

}  // namespace weir::reactor
