#include "collector/admin/api.h"

#include <charconv>

#include "collector/admin/human_text.h"
#include "collector/admin/metrics_text.h"
#include "collector/admin/query_time.h"
#include "collector/http/query.h"
#include "collector/json_writer.h"

namespace weir::admin {
namespace {

constexpr uint64_t kMaxBody = 4 << 20;  // an edited event
constexpr size_t kDefaultPage = 100;
constexpr size_t kMaxPage = 1000;

// "/api/v1/failed/17/requeue" against "/api/v1/failed/{id}/requeue". {id} is a number, {name} one
// part of the path, {text} all the rest of it.
bool path_matches(std::string_view pattern, std::string_view path, Api::Hole* in) {
  const size_t begin = pattern.find('{');
  if (begin == std::string_view::npos) return pattern == path;
  const size_t end = pattern.find('}', begin) + 1;
  const std::string_view kind = pattern.substr(begin, end - begin);
  const std::string_view behind = pattern.substr(end);
  if (path.size() <= begin + behind.size() || !path.starts_with(pattern.substr(0, begin)) ||
      !path.ends_with(behind))
    return false;
  const std::string_view hole = path.substr(begin, path.size() - begin - behind.size());
  if (kind == "{id}") {
    const auto [last, error] = std::from_chars(hole.data(), hole.data() + hole.size(), in->id);
    return error == std::errc() && last == hole.data() + hole.size();
  }
  if (kind == "{name}" && hole.find('/') != std::string_view::npos) return false;
  in->text = http::percent_decode(hole);
  return true;
}

uint64_t number_of(std::string_view query, std::string_view key, uint64_t otherwise) {
  const std::string text = http::query_value(query, key);
  uint64_t number = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

// What a route gets to see of the request; owns its texts, because the worker reads it later.
struct Api::Call {
  std::string query;
  std::string body;
  Hole in;  // what stands in the hole of the route's path
  bool wants_text = false;
  int64_t now_ms = 0;

  bool has(std::string_view key) const { return http::query_find(query, key).has_value(); }
  std::string value(std::string_view key) const { return http::query_value(query, key); }
  Result<storage::DeadLetterFilter> filter() const {
    storage::DeadLetterFilter filter;
    filter.lane = http::query_value(query, "destination");
    filter.reason = http::query_value(query, "reason");
    filter.tenant = http::query_value(query, "tenant");
    filter.name = value("name");
    filter.event_id = value("event");
    if (has("since")) {
      WEIR_ASSIGN_OR_RETURN(filter.since_ms, parse_moment(value("since"), now_ms));
    }
    if (has("until")) {
      WEIR_ASSIGN_OR_RETURN(filter.until_ms, parse_moment(value("until"), now_ms));
    }
    filter.after_id = number_of(query, "after", 0);
    filter.limit = std::clamp<size_t>(number_of(query, "limit", kDefaultPage), 1, kMaxPage);
    return filter;
  }
  FailedEvents::ExpiredFilter expired_filter() const {
    FailedEvents::ExpiredFilter filter;
    filter.lane = value("destination");
    filter.reason = value("reason");
    if (has("shard")) filter.shard = static_cast<uint16_t>(number_of(query, "shard", 0));
    if (has("first")) filter.first = number_of(query, "first", 0);
    return filter;
  }
};

struct Api::Route {
  http::Method method;
  std::string_view path;
  Need need;
  bool on_worker;
  Reply (Api::*answer)(const Call& call);
  // Instead of answer:
  bool (Api::*stream)(http::Exchange& exchange, const Call& call) = nullptr;
  Reply (Api::*from_request)(const http::Request& request) = nullptr;
};

// The table of paths. The first match counts.
const std::vector<Api::Route>& Api::routes() {
  using M = http::Method;
  static const auto* const table = new std::vector<Route>{
      {M::kGet, "/livez", Need::kNothing, false, &Api::livez},
      {M::kGet, "/readyz", Need::kNothing, false, &Api::readyz},
      {M::kGet, "/metrics", Need::kMetrics, false, &Api::metrics},
      {M::kGet, "/api/v1/session", Need::kPage, false, nullptr, nullptr, &Api::session},
      {M::kPost, "/api/v1/session", Need::kPage, false, nullptr, nullptr, &Api::sign_in},
      {M::kDelete, "/api/v1/session", Need::kPage, false, nullptr, nullptr, &Api::sign_out},
      {M::kGet, "/api/v1/live-counters", Need::kAdmin, false, &Api::live_counters},
      {M::kGet, "/api/v1/live", Need::kAdmin, false, nullptr, &Api::live},
      {M::kGet, "/api/v1/tail", Need::kAdmin, false, nullptr, &Api::tail},
      {M::kGet, "/api/v1/top", Need::kAdmin, false, &Api::top},
      {M::kGet, "/api/v1/stats", Need::kAdmin, true, &Api::stats},
      {M::kGet, "/api/v1/failed", Need::kAdmin, true, &Api::failed_list},
      {M::kGet, "/api/v1/events/{text}", Need::kAdmin, true, &Api::event},
      {M::kGet, "/api/v1/failed/expired", Need::kAdmin, true, &Api::failed_expired},
      {M::kPost, "/api/v1/failed/expired/requeue", Need::kAdmin, true, &Api::expired_requeue},
      {M::kGet, "/api/v1/failed/export", Need::kAdmin, true, &Api::failed_export},
      {M::kPost, "/api/v1/failed/requeue", Need::kAdmin, true, &Api::failed_requeue_all},
      {M::kPost, "/api/v1/failed/discard", Need::kAdmin, true, &Api::failed_discard_all},
      {M::kGet, "/api/v1/failed/{id}", Need::kAdmin, true, &Api::failed_show},
      {M::kPut, "/api/v1/failed/{id}", Need::kAdmin, true, &Api::failed_edit},
      {M::kPost, "/api/v1/failed/{id}/requeue", Need::kAdmin, true, &Api::failed_requeue},
      {M::kPost, "/api/v1/failed/{id}/discard", Need::kAdmin, true, &Api::failed_discard},
      {M::kDelete, "/api/v1/failed/{id}", Need::kAdmin, true, &Api::failed_discard},
      {M::kGet, "/api/v1/consumers", Need::kAdmin, true, &Api::consumer_list},
      {M::kPost, "/api/v1/consumers", Need::kAdmin, true, &Api::consumer_create},
      {M::kGet, "/api/v1/consumers/{name}", Need::kAdmin, true, &Api::consumer_show},
      {M::kDelete, "/api/v1/consumers/{name}", Need::kAdmin, true, &Api::consumer_delete},
      {M::kPost, "/api/v1/consumers/{name}/seek", Need::kAdmin, true, &Api::consumer_seek},
      {M::kPost, "/api/v1/consumers/{name}/replay", Need::kAdmin, true, &Api::consumer_replay},
      {M::kPost, "/api/v1/destinations/{name}/replay", Need::kAdmin, true,
       &Api::destination_replay},
      {M::kGet, "/api/v1/drain", Need::kAdmin, true, &Api::drain_state},
      {M::kPost, "/api/v1/drain", Need::kAdmin, true, &Api::drain},
      {M::kPost, "/api/v1/drain/resume", Need::kAdmin, true, &Api::drain_resume},
      {M::kGet, "/api/v1/config", Need::kAdmin, true, &Api::config},
      {M::kPost, "/api/v1/reload", Need::kAdmin, true, &Api::reload},
  };
  return *table;
}

std::vector<Api::ServedPath> Api::served_paths() {
  std::vector<ServedPath> out;
  for (const Route& route : routes()) out.push_back({route.method, route.path});
  return out;
}

Api::Api(const ApiDeps& deps, const std::vector<TokenOptions>& tokens, int64_t stats_cache_ttl_ms)
    : deps_(deps),
      stats_(deps.store, deps.forwarder, deps.metrics, deps.clock, deps.info),
      failed_(deps.store, deps.edit_event, [this] { wake_lanes(); }),
      consumers_(deps.leases, deps.clock),
      destinations_(deps.store, deps.clock, [this] { wake_lanes(); }),
      ledger_(deps.store, deps.forwarder),
      dashboard_(deps.session_lifetime_ms),
      process_metrics_(deps.metrics),
      live_(deps.stream_limits, deps.loop, deps.metrics, [this] { return stats_.live_json(); }),
      tail_(deps.stream_limits, deps.loop, deps.metrics, [this](auto watch) {
        if (deps_.watch != nullptr) deps_.watch(std::move(watch));
      }) {
  if (deps_.not_ready != nullptr)
    stats_.set_pressed([this] { return deps_.not_ready().has_value(); });
  apply(tokens, stats_cache_ttl_ms);
  worker_ = std::make_unique<Worker>(deps.loop.wakeup(), [this] { stats_.sample(); });
}

Api::~Api() { worker_->stop(); }

void Api::apply(const std::vector<TokenOptions>& tokens, int64_t stats_cache_ttl_ms) {
  stats_.set_cache_ttl_ms(stats_cache_ttl_ms);
  auto table = std::make_shared<const AccessTable>(tokens);
  std::lock_guard lock(access_mutex_);
  access_ = std::move(table);
  // Who listens is checked again.
  restart_streams_.store(true, std::memory_order_release);
  deps_.loop.wakeup().notify();
}

void Api::on_wakeup() {
  worker_->answer_done();
  tail_.pump();
  if (!restart_streams_.exchange(false, std::memory_order_acq_rel)) return;
  live_.restart();
  tail_.restart();
}

void Api::wake_lanes() {
  if (auto* forwarder = deps_.forwarder.load(std::memory_order_acquire)) forwarder->wake();
  if (deps_.leases != nullptr) deps_.leases->look_for_requeued();
}

void Api::end_streams() {
  live_.close();
  tail_.close();
}

Verdict Api::check(const http::Request& request, Need need) const {
  const auto access = this->access();
  const auto session = dashboard_.sessions().find(Sessions::id_in(request), deps_.clock.wall_ms());
  const bool by_cookie = session && !request.has_header("authorization");
  const bool changes =
      request.method != http::Method::kGet && request.method != http::Method::kHead;
  // The browser adds the cookie whoever asks; a page of somebody else must not act here.
  if (by_cookie && changes && !access->open() && !is_same_origin(request))
    return {403, "forbidden", "with a session only the dashboard's own page may change something"};
  return access->check(request, need, nullptr, by_cookie ? &*session : nullptr);
}

std::shared_ptr<const AccessTable> Api::access() const {
  std::lock_guard lock(access_mutex_);
  return access_;
}

const Api::Route* Api::find_route(http::Method method, std::string_view path, Hole* in,
                                  bool* path_known) {
  if (method == http::Method::kHead) method = http::Method::kGet;
  for (const Route& route : routes()) {
    if (!path_matches(route.path, path, in)) continue;
    *path_known = true;
    if (route.method == method) return &route;
  }
  return nullptr;
}

http::HeadVerdict Api::on_head(const http::Request&) {
  http::HeadVerdict verdict;
  verdict.max_body_bytes = kMaxBody;
  return verdict;
}

void Api::on_client_gone(http::Exchange& exchange) {
  if (deps_.pull != nullptr && exchange.request().path.starts_with("/pull/"))
    deps_.pull->on_client_gone(exchange);
}

bool Api::allows_origin(const http::Request& request, std::string_view origin) {
  const std::string_view authority = authority_of(origin);
  return !authority.empty() && authority == request.header("host");
}

void Api::answer(http::Exchange& exchange, const Reply& reply) {
  Counter*& counter = answered_[reply.status];
  if (counter == nullptr)
    counter =
        &deps_.metrics.counter(Metric::kHttpRequests, {"admin", std::to_string(reply.status)});
  counter->add();
  send_reply(exchange, reply);
}

void Api::on_request(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  if (deps_.pull != nullptr && request.path.starts_with("/pull/"))
    return deps_.pull->on_request(exchange);
  Call call;
  bool path_known = false;
  const Route* route = find_route(request.method, request.path, &call.in, &path_known);
  const bool file = dashboard_.serves(request.path);
  // Access first: without it not even the paths are told apart.
  const Verdict verdict = check(request, file               ? Need::kPage
                                         : route == nullptr ? Need::kAdmin
                                                            : route->need);
  if (verdict.status != 0)
    return answer(exchange, error_reply(verdict.status, verdict.code, verdict.message));
  if (file && (request.method == http::Method::kGet || request.method == http::Method::kHead))
    return answer(exchange, dashboard_.asset(request));
  if (route == nullptr && (path_known || file))
    return answer(exchange, error_reply(405, "method_not_allowed", "not with this method"));
  if (route == nullptr)
    return answer(exchange, error_reply(404, "not_found", "there is nothing at this path"));
  if (route->from_request != nullptr)
    return answer(exchange, (this->*route->from_request)(request));
  call.query = request.query;
  call.body = request.body.view();
  call.wants_text = request.header("accept").starts_with("text/plain");
  call.now_ms = deps_.clock.wall_ms();
  if (route->stream != nullptr) {
    if (!(this->*route->stream)(exchange, call))
      answer(exchange, error_reply(503, "busy", "too many listen already; come back later"));
    return;
  }
  if (!route->on_worker) return answer(exchange, (this->*route->answer)(call));
  if (route->answer == &Api::stats && !call.has("fresh"))
    if (std::string cached = stats_.cached_json(); !cached.empty())
      return answer(exchange, json_reply(std::move(cached)));
  const bool queued = worker_->submit(
      exchange, [this, route, call = std::move(call)] { return (this->*route->answer)(call); });
  if (!queued) answer(exchange, error_reply(503, "busy", "too many questions at once; ask again"));
}

Reply Api::livez(const Call&) { return json_reply(R"({"status":"ok"})"); }

Reply Api::readyz(const Call&) {
  if (!stats_.ready()) return error_reply(503, "starting", "the server is starting or stopping");
  const storage::Refusal refusal = deps_.store.admission();
  if (refusal != storage::Refusal::kNone)
    return error_reply(503, storage::refusal_name(refusal), deps_.store.admission_detail());
  if (deps_.not_ready != nullptr)
    if (const auto why = deps_.not_ready()) return error_reply(503, why->reason, why->detail);
  return json_reply(R"({"status":"ok"})");
}

Reply Api::metrics(const Call&) {
  process_metrics_.update();
  Reply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = metrics_text(deps_.metrics);
  return reply;
}

Reply Api::session(const http::Request& request) {
  return dashboard_.session(*access(), request, deps_.clock.wall_ms());
}

Reply Api::sign_in(const http::Request& request) {
  return dashboard_.sign_in(*access(), request, deps_.clock.wall_ms());
}

Reply Api::sign_out(const http::Request& request) {
  live_.restart();  // its streams, too, end; the others' come back
  tail_.restart();
  return dashboard_.sign_out(request);
}

Reply Api::live_counters(const Call& call) {
  return call.wants_text ? text_reply(stats_.live_text()) : json_reply(stats_.live_json());
}

bool Api::live(http::Exchange& exchange, const Call&) { return live_.subscribe(exchange); }

bool Api::tail(http::Exchange& exchange, const Call& call) {
  TapFilter filter{call.value("tenant"), call.value("name"), call.value("source"),
                   call.value("outcome")};
  return tail_.subscribe(exchange, std::move(filter), call.value("format") == "text");
}

Reply Api::top(const Call& call) {
  const auto size = [&](std::string_view key, uint64_t otherwise, uint64_t most) {
    return std::clamp<uint64_t>(number_of(call.query, key, otherwise), 1, most);
  };
  return text_reply(stats_.top_screen(size("columns", 80, 1'000), size("rows", 24, 500)));
}

Reply Api::stats(const Call& call) {
  const bool forced = call.has("fresh");
  // Several may have waited for the same expired cache.
  if (!forced)
    if (std::string cached = stats_.cached_json(); !cached.empty())
      return json_reply(std::move(cached));
  auto body = stats_.fresh_json(forced);
  return body ? json_reply(std::move(*body)) : error_reply(body.error());
}

Reply Api::failed_list(const Call& call) {
  const auto filter = call.filter();
  return filter ? failed_.list(*filter, call.wants_text) : error_reply(filter.error());
}

Reply Api::failed_export(const Call& call) {
  const auto filter = call.filter();
  if (!filter) return error_reply(filter.error());
  const std::string format = call.value("format");
  if (!format.empty() && format != "csv" && format != "ndjson")
    return error_reply(400, "unknown_format", "formats are ndjson and csv");
  using Export = FailedEvents::Export;
  return failed_.export_page(*filter, format == "csv"   ? Export::kCsv
                                      : call.has("raw") ? Export::kRaw
                                                        : Export::kNdjson);
}

Reply Api::failed_requeue_all(const Call& call) {
  auto filter = call.filter();
  return filter ? failed_.requeue_all(std::move(*filter)) : error_reply(filter.error());
}

Reply Api::failed_discard_all(const Call& call) {
  auto filter = call.filter();
  return filter ? failed_.discard_all(std::move(*filter)) : error_reply(filter.error());
}

Reply Api::failed_show(const Call& call) { return failed_.show(call.in.id, call.wants_text); }
Reply Api::failed_edit(const Call& call) { return failed_.edit(call.in.id, call.body); }
Reply Api::failed_requeue(const Call& call) { return failed_.requeue(call.in.id); }
Reply Api::failed_discard(const Call& call) { return failed_.discard(call.in.id); }

Reply Api::consumer_list(const Call& call) { return consumers_.list(call.wants_text); }
Reply Api::consumer_create(const Call& call) { return consumers_.create(call.body); }
Reply Api::consumer_show(const Call& call) {
  return consumers_.show(call.in.text, call.wants_text);
}
Reply Api::consumer_delete(const Call& call) { return consumers_.remove(call.in.text); }

Reply Api::consumer_seek(const Call& call) { return consumers_.seek(call.in.text, call.body); }
Reply Api::consumer_replay(const Call& call) { return consumers_.replay(call.in.text, call.body); }

Reply Api::destination_replay(const Call& call) {
  return destinations_.replay(call.in.text, call.body);
}

Reply Api::failed_expired(const Call& call) {
  return failed_.expired(call.expired_filter(), call.wants_text);
}

Reply Api::expired_requeue(const Call& call) {
  return failed_.requeue_expired(call.expired_filter());
}

Reply Api::event(const Call& call) {
  return ledger_.answer(call.in.text, call.value("tenant"), call.wants_text);
}

Reply Api::drain_state(const Call& call) {
  const bool draining = deps_.store.admission() == storage::Refusal::kDraining;
  uint64_t pending = 0;
  std::string text = draining ? "draining: new events are refused\n" : "not draining\n";
  JsonWriter json;
  json.begin_object().field("draining", draining).key("pending_by_lane").begin_object();
  std::vector<storage::LaneState> lanes = deps_.store.lanes();
  // A destination that is no longer configured keeps its position and takes nothing.
  std::erase_if(lanes, [](const storage::LaneState& lane) { return lane.removed(); });
  for (const storage::LaneState& lane : lanes) {
    const uint64_t waiting = lane_pending(deps_.store, lane);
    json.field(lane.name, waiting);
    text += fmt::format("{:<20} {} pending\n", lane.name, waiting);
    pending = std::max(pending, waiting);
  }
  json.end_object();
  // Without anybody to take them events wait for ever.
  if (lanes.empty()) pending = deps_.store.totals().accepted;
  text += pending == 0 ? "empty\n" : human_count(pending, "event") + " pending\n";
  json.field("pending", pending).end_object();
  Reply reply = call.wants_text ? text_reply(std::move(text)) : json_reply(json.take() + "\n");
  reply.headers = fmt::format("Weir-Pending: {}\r\n", pending);
  return reply;
}

Reply Api::drain(const Call& call) {
  deps_.store.set_draining(true);
  return drain_state(call);
}

Reply Api::drain_resume(const Call& call) {
  deps_.store.set_draining(false);
  return drain_state(call);
}

Reply Api::config(const Call&) { return json_reply(deps_.config_json()); }

Reply Api::reload(const Call&) {
  auto done = deps_.reload();
  return done ? json_reply(std::move(*done)) : error_reply(done.error());
}

}  // namespace weir::admin
