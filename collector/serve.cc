#include "collector/serve.h"

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include <cstdio>

#include "collector/notify.h"
#include "collector/reactor/loop.h"
#include "collector/server.h"
#include "storage/base/clock.h"
#include "storage/base/log.h"

namespace weir {
namespace {

void raise_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // the old limit is a working one
}

// Signals are taken by sigwait on the main thread; blocked before any thread is made, so that all
// inherit it.
sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return set;
}

void tell_systemd(std::string_view state) {
  if (const Status told = notify_systemd(state); !told)
    log::warn("systemd_notify_failed", {{"error", told.error().message}});
}

void reload(Server& server) {
  tell_systemd(
      fmt::format("RELOADING=1\nMONOTONIC_USEC={}", Clock::system().monotonic_ns() / 1000));
  // What was wrong is in the log.
  if (!server.reload()) log::warn("reload_failed", {{"meaning", "the old configuration goes on"}});
  tell_systemd("READY=1");
}

}  // namespace

int serve(const options::Sources& sources, options::Options options) {
  const sigset_t signals = block_signals();
  raise_open_files();
  log::configure(options.log);
  // Before the store is opened, which may take long: where io_uring is denied, say so at once.
  const reactor::IoUringReport uring = reactor::probe_io_uring();
  if (!uring.usable) {
    log::error("io_uring_denied", {{"reason", uring.detail}});
    return 1;
  }
  auto server = Server::start(sources, std::move(options), uring.features);
  if (!server) {
    log::error("cannot_start", {{"reason", server.error().message}});
    return 1;
  }
  tell_systemd("READY=1");
  for (;;) {
    int number = 0;
    if (sigwait(&signals, &number) != 0) continue;
    if (number == SIGHUP) {
      reload(**server);
      continue;
    }
    log::info("stopping", {{"signal", number == SIGTERM ? "SIGTERM" : "SIGINT"}});
    tell_systemd("STOPPING=1");
    break;
  }
  (*server)->stop();
  return 0;
}

}  // namespace weir
