#include "collector/server.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "collector/component_check.h"
#include "collector/event_editor.h"
#include "collector/json_writer.h"
#include "collector/options/print.h"
#include "collector/version.h"
#include "storage/base/log.h"

namespace weir {
namespace {

constexpr uint64_t kAdminBodyMemory = 16 << 20;
constexpr int64_t kAdminStopMs = 5'000;
// The least the scheduler gives: reactors run promptly and briefly beside writers and forwarding,
// so what came meanwhile shares the next commit (docs/performance.md).
constexpr uint64_t kShardSliceNs = 100'000;
constexpr auto kLookEvery = std::chrono::milliseconds(5);

// Cores this process may use, in order.
std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

// Waits until done() or for at most ms; whether it was done.
template <class Done>
bool wait_until(int64_t ms, Done done) {
  const int64_t deadline = Clock::system().monotonic_ns() + ms * 1'000'000;
  while (!done()) {
    if (Clock::system().monotonic_ns() >= deadline) return false;
    std::this_thread::sleep_for(kLookEvery);
  }
  return true;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

PipelineLimits pipeline_limits(const options::Options& options) {
  return {options.events, options.event_memory_bytes,
          static_cast<int>(options.retry_after_ms / 1000)};
}

// The key table of these options; without any [[keys]] loopback clients need none.
Result<std::shared_ptr<const event::KeyTable>> build_keys(const options::Options& options,
                                                          const event::KeyTable* previous) {
  std::vector<event::KeyOptions> keys = options.keys;
  const auto address = options::parse_address(options.server.listen);
  if (keys.empty() && address && address->loopback) keys.emplace_back();
  return event::KeyTable::build(keys, previous);
}

}  // namespace

Server::Server(options::Sources sources, options::Options options)
    : sources_(std::move(sources)),
      options_(std::move(options)),
      current_(options_),
      started_ns_(Clock::system().monotonic_ns()),
      started_ms_(Clock::system().wall_ms()) {}

Result<std::unique_ptr<Server>> Server::start(const options::Sources& sources,
                                              options::Options options,
                                              std::string_view io_uring_features) {
  std::unique_ptr<Server> server(new Server(sources, std::move(options)));
  WEIR_RETURN_IF_ERROR(server->open_store());
  WEIR_RETURN_IF_ERROR(server->make_shards());
  WEIR_RETURN_IF_ERROR(server->make_admin());
  WEIR_RETURN_IF_ERROR(server->start_forwarder());
  // The sockets listen: who connects from now on is served in a moment.
  server->announce(io_uring_features);
  server->admin_thread_->start();
  server->serving_ = true;
  for (const auto& shard : server->shards_) shard->start();
  server->admin_api_->set_ready(true);
  return server;
}

Server::~Server() { stop(); }

Status Server::open_store() {
  WEIR_ASSIGN_OR_RETURN(keys_, build_keys(options_, nullptr));
  WEIR_ASSIGN_OR_RETURN(store_, storage::Store::open(options_.store, Clock::system(), metrics_));
  budget_ = std::make_unique<http::BodyBudget>(options_.limits.body_memory_bytes);
  budget_->export_metrics(metrics_);
  pressure_ = std::make_unique<PressureGauge>(*store_, *budget_);
  metrics_.gauge_callback(Metric::kPressurePercent, {"memory"},
                          [this] { return static_cast<double>(pressure_->memory_percent()); });
  metrics_
      .gauge(Metric::kBuildInfo, {std::string(version()), kernel_release(),
                                  std::string(liburing_version()), std::string(lmdb_version())})
      .set(1);
  metrics_.gauge(Metric::kStartTime).set(started_ms_ / 1000);
  return {};
}

ShardOptions Server::shard_options(unsigned index, uint16_t port) const {
  const auto address = options::parse_address(options_.server.listen);  // checked when loaded
  ShardOptions shard;
  shard.loop.ring_entries = options_.reactor.ring_entries;
  shard.loop.completion_entries = options_.reactor.ring_entries * 4;
  shard.loop.receive_buffers = options_.reactor.receive_buffers;
  shard.loop.receive_buffer_bytes = options_.reactor.receive_buffer_bytes;
  shard.loop.name = fmt::format("weir-shard-{}", index);
  shard.loop.slice_ns = kShardSliceNs;
  const std::vector<int> cores = usable_cores();
  if (options_.server.pin && index < cores.size() && options_.server.shards <= cores.size())
    shard.loop.cpu = cores[index];
  shard.listener.address = address->ip;
  shard.listener.port = port;
  shard.listener.reuse_port = options_.server.shards > 1;
  shard.listener.max_connections = options_.server.max_connections;
  shard.server.limits = options_.limits;
  shard.server.proxy = options_.server.proxy;
  shard.pipeline.slice_us = options_.reactor.slice_us;
  shard.pipeline.commit_deadline_ms = options_.store.commit_deadline_ms;
  const PipelineLimits limits = pipeline_limits(options_);
  shard.pipeline.limits = limits.events;
  shard.pipeline.event_memory_bytes = limits.event_memory_bytes;
  shard.pipeline.retry_after_seconds = limits.retry_after_seconds;
  shard.pipeline.open_mode = options_.open_ingest();
  return shard;
}

Status Server::make_shards() {
  const auto address = options::parse_address(options_.server.listen);
  uint16_t port = address->port;
  if (options_.server.shards > 1) WEIR_RETURN_IF_ERROR(check_port_free(address->ip, port));
  if (options_.open_ingest() && !address->loopback)
    log::warn("no_keys", {{"listen", options_.server.listen},
                          {"meaning",
                           "every event is refused with 401 until [[keys]] are "
                           "configured: without keys only loopback is served"}});
  for (unsigned i = 0; i < options_.server.shards; ++i) {
    WEIR_ASSIGN_OR_RETURN(
        auto shard,
        Shard::create(shard_options(i, port),
                      {*store_, Clock::system(), metrics_, *budget_, *pressure_}, keys_));
    port = shard->port();  // port 0: the others listen where the first one does
    shards_.push_back(std::move(shard));
  }
  return {};
}

Status Server::make_admin() {
  reactor::LoopOptions loop;
  loop.ring_entries = 64;
  loop.completion_entries = 256;
  loop.receive_buffers = 64;
  loop.name = "weir-admin";
  WEIR_ASSIGN_OR_RETURN(admin_loop_, reactor::Loop::create(loop, metrics_));
  admin_thread_ = std::make_unique<LoopThread>(*admin_loop_, loop.name);

  admin_budget_ = std::make_unique<http::BodyBudget>(kAdminBodyMemory);
  WEIR_RETURN_IF_ERROR(make_pull());

  admin::ApiDeps deps{*store_,
                      forwarder_pointer_,
                      metrics_,
                      Clock::system(),
                      *admin_loop_,
                      {},
                      edit_event_record,
                      {},
                      0,
                      {},
                      {},
                      pull_api_.get(),
                      leases_.get()};
  deps.info.node = options_.server.node;
  deps.info.version = version();
  deps.info.kernel = kernel_release();
  deps.info.data_directory = options_.store.directory;
  deps.info.started_ms = started_ms_;
  deps.stream_limits.subscribers = options_.server.admin_streams;
  deps.session_lifetime_ms = options_.server.session_lifetime_ms;
  deps.config_json = [this] {
    std::lock_guard lock(current_mutex_);
    return options::print_json(current_);
  };
  deps.reload = [this] { return reload(); };
  deps.watch = [this](const std::shared_ptr<const TapWatch>& watch) {
    for (const auto& shard : shards_) shard->set_tap(watch);
  };
  deps.not_ready = [this]() -> std::optional<admin::NotReady> {
    const storage::Pressure pressure = pressure_->look(Clock::system().monotonic_ns());
    if (pressure.level == storage::PressureLevel::kNone) return std::nullopt;
    return admin::NotReady{std::string(watermark_name(pressure.cause)),
                           pressure_->detail(pressure)};
  };
  admin_api_ = std::make_unique<admin::Api>(deps, options_.tokens, options_.stats_cache_ttl_ms);
  admin_loop_->on_wakeup([this] { admin_api_->on_wakeup(); });

  return listen_beside({"admin", options_.server.admin, options_.server.admin_max_connections},
                       *admin_api_, &admin_server_, &admin_listener_);
}

// A listener of the admin loop, beside the ingest ones.
Status Server::listen_beside(const SideListener& side, http::Handler& handler,
                             std::unique_ptr<http::Server>* server, reactor::Listener** listener) {
  http::ServerOptions options;
  options.limits = options_.limits;
  WEIR_ASSIGN_OR_RETURN(
      *server, http::Server::create(options, *admin_loop_, handler, *admin_budget_, metrics_));
  const auto address = options::parse_address(side.address);  // checked when loaded
  reactor::ListenerOptions socket;
  socket.address = address->ip;
  socket.port = address->port;
  socket.max_connections = side.max_connections;
  socket.name = side.name;
  WEIR_ASSIGN_OR_RETURN(*listener, admin_loop_->listen(socket, **server));
  return {};
}

// Central servers that pull: the leases, and what speaks for them on the admin listener and, where
// there is one, on a listener of its own.
Status Server::make_pull() {
  WEIR_ASSIGN_OR_RETURN(
      leases_, forwarder::Leases::start(options_.pull, *store_, Clock::system(), metrics_));
  const auto unsent_bytes = [this] {
    return admin_server_->unsent_bytes() +
           (pull_server_ != nullptr ? pull_server_->unsent_bytes() : 0);
  };
  pull_api_ = std::make_unique<pull::PullApi>(
      pull::PullDeps{*leases_, metrics_, admin_loop_->wakeup(),
                     pull::Node{options_.server.node, store_->id().text()}, unsent_bytes,
                     options_.pull.max_memory_bytes, options_.open_admin()},
      options_.tokens);
  admin_loop_->on_wakeup([this] { pull_api_->answer_done(); });
  if (options_.server.pull.empty()) return {};
  return listen_beside({"pull", options_.server.pull, options_.server.pull_max_connections},
                       *pull_api_, &pull_server_, &pull_listener_);
}

Status Server::start_forwarder() {
  WEIR_ASSIGN_OR_RETURN(forwarder_, forwarder::Forwarder::start(options_.forwarder, *store_,
                                                                Clock::system(), metrics_));
  forwarder_pointer_.store(forwarder_.get(), std::memory_order_release);
  return {};
}

void Server::announce(std::string_view io_uring_features) {
  const auto listen = options::parse_address(options_.server.listen);
  const auto admin = options::parse_address(options_.server.admin);
  const auto url = [](const options::Address& address, uint16_t port) {
    const bool six = address.ip.find(':') != std::string::npos;
    return fmt::format(fmt::runtime(six ? "http://[{}]:{}" : "http://{}:{}"), address.ip, port);
  };
  log::info("ready",
            {{"version", version()},
             {"kernel", kernel_release()},
             {"io_uring", io_uring_features},
             {"listen", url(*listen, shards_.front()->port())},
             {"admin", url(*admin, admin_listener_->port())},
             {"pull", pull_listener_ == nullptr ? "admin"
                                                : url(*options::parse_address(options_.server.pull),
                                                      pull_listener_->port())},
             {"data", options_.store.directory},
             {"store_id", store_->id().text()},
             {"node", options_.server.node},
             {"shards", options_.server.shards},
             {"destinations", options_.forwarder.destinations.size()},
             {"keys", !options_.open_ingest() ? std::to_string(options_.keys.size())
                      : listen->loopback      ? "open"
                                              : "none"},
             {"startup_ms", (Clock::system().monotonic_ns() - started_ns_) / 1'000'000}});
}

Result<std::string> Server::reload() {
  std::lock_guard lock(current_mutex_);
  const auto refuse = [&](std::string why) {
    metrics_.counter(Metric::kConfigReloads, {"refused"}).add();
    log::error("reload_refused", {{"reason", why}});
    return fail(ErrorCode::kInvalidArgument, "nothing was changed: {}", why);
  };
  options::LoadResult loaded = options::load_options(sources_);
  if (loaded.ok()) check_components(loaded.options, loaded.problems);
  std::vector<std::string> reasons;
  for (const options::Problem& problem : loaded.problems) reasons.push_back(problem_text(problem));
  if (!reasons.empty()) return refuse(joined(reasons));
  const ReloadPlan plan = plan_reload(current_, loaded.options);
  if (!plan.refused.empty())
    return refuse(
        fmt::format("{} can only change with a restart; put back what the running server has "
                    "(`weir config print`), or restart it",
                    joined(plan.refused)));
  if (loaded.options.open_ingest() != current_.open_ingest() ||
      loaded.options.open_admin() != current_.open_admin())
    return refuse("going from open mode to keys or tokens, or back, needs a restart");
  auto keys = build_keys(loaded.options, keys_.get());
  if (!keys) return refuse(keys.error().message);
  if (Status may = leases_->may_declare(loaded.options.pull.consumers); !may)
    return refuse(may.error().message);
  // The last thing that can fail: destinations are made, then all lanes are written.
  const auto lanes = [&] { return store_->configure_lanes(loaded.options.store.lanes); };
  if (Status done =
          forwarder_->reconfigure(loaded.options.forwarder.destinations, plan.destinations, lanes);
      !done)
    return refuse(done.error().message);
  apply(loaded.options, std::move(*keys));
  current_ = std::move(loaded.options);
  return tell(plan);
}

// What of new options takes effect at once and cannot fail.
void Server::apply(const options::Options& wanted, std::shared_ptr<const event::KeyTable> keys) {
  log::configure(wanted.log);
  keys_ = std::move(keys);
  budget_->set_limit(wanted.limits.body_memory_bytes);
  store_->set_pressure_limits(wanted.store.pressure);
  leases_->declare(wanted.pull.consumers);
  for (const auto& shard : shards_) {
    shard->set_keys(keys_);
    shard->set_limits(wanted.limits, pipeline_limits(wanted));
  }
  admin_thread_->post([this, limits = wanted.limits] {
    admin_server_->set_limits(limits);
    if (pull_server_ != nullptr) pull_server_->set_limits(limits);
  });
  admin_api_->apply(wanted.tokens, wanted.stats_cache_ttl_ms);
  pull_api_->apply(wanted.tokens);
}

std::string Server::tell(const ReloadPlan& plan) {
  metrics_.counter(Metric::kConfigReloads, {"applied"}).add();
  log::info("reloaded", {{"changed", plan.changed.empty() ? "nothing" : joined(plan.changed)}});
  JsonWriter json;
  json.begin_object().key("changed").begin_array();
  for (const std::string& name : plan.changed) json.string(name);
  json.end_array().key("changes").begin_array();
  for (const ReloadPlan::Change& change : plan.changes) {
    log::info("option_changed", {{"option", change.option},
                                 {"before", change.before.empty() ? "(none)" : change.before},
                                 {"after", change.after.empty() ? "(none)" : change.after}});
    json.begin_object().field("option", change.option).field("before", change.before);
    json.field("after", change.after).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

void Server::drain_requests() {
  for (const auto& shard : shards_) shard->begin_drain();
  const bool drained = wait_until(options_.server.drain_ms, [this] {
    return std::all_of(shards_.begin(), shards_.end(),
                       [](const auto& shard) { return shard->drained(); });
  });
  if (!drained)
    log::warn("drain_timeout", {{"meaning", "connections that are still open are closed now"}});
  for (const auto& shard : shards_) shard->stop();
}

// Every question that was taken is answered before the loop ends.
void Server::stop_admin() {
  admin_api_->stop();
  if (serving_) {
    std::atomic<bool> answered{false};
    admin_thread_->post([&] {
      admin_api_->on_wakeup();
      admin_api_->end_streams();
      pull_api_->answer_done();
      admin_server_->drain();
      if (pull_server_ != nullptr) pull_server_->drain();
      answered.store(true, std::memory_order_release);
    });
    wait_until(kAdminStopMs, [&] { return answered.load(std::memory_order_acquire); });
  }
  admin_thread_->stop();
}

void Server::log_what_is_left() {
  auto lanes = store_->lanes();
  std::erase_if(lanes, [](const storage::LaneState& lane) { return lane.removed(); });
  // Without any lane everything waits.
  uint64_t most = lanes.empty() ? store_->totals().accepted : 0;
  for (const storage::LaneState& lane : lanes) {
    const uint64_t pending = admin::lane_pending(*store_, lane);
    most = std::max(most, pending);
    if (pending != 0)
      log::info("left_on_disk", {{"name", lane.name},
                                 {"pending", pending},
                                 {"meaning", lane.kind == storage::LaneKind::kConsumer
                                                 ? "handed out after the next start"
                                                 : "sent after the next start"}});
  }
  log::info("stopped", {{"pending", most}, {"data", options_.store.directory}});
}

void Server::stop() {
  if (stopped_) return;
  stopped_ = true;
  if (admin_api_ != nullptr) admin_api_->set_ready(false);
  if (serving_) drain_requests();
  // Flushes: sends on for at most drain_seconds what can be sent.
  if (forwarder_ != nullptr) forwarder_->stop();
  if (leases_ != nullptr) leases_->stop();
  if (admin_api_ != nullptr) stop_admin();
  if (store_ != nullptr) {
    if (serving_) log_what_is_left();
    store_->stop();
  }
  // Appenders and lane clients go before the store, after it stopped.
  forwarder_pointer_.store(nullptr, std::memory_order_release);
  forwarder_.reset();
  pull_server_.reset();
  admin_server_.reset();
  admin_api_.reset();
  pull_api_.reset();
  leases_.reset();
  shards_.clear();
  admin_thread_.reset();
  admin_loop_.reset();
  store_.reset();
}

}  // namespace weir
