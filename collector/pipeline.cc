#include "collector/pipeline.h"

#include <fmt/format.h>

#include <string_view>

#include "collector/event/encoder.h"
#include "collector/health.h"
#include "collector/http/query.h"
#include "collector/pipeline_impl.h"
#include "collector/protocols/canonical.h"
#include "storage/base/check.h"

namespace weir {
namespace {

constexpr size_t kLookBytes = 4 << 10;  // how often a slice looks at the clock: every few µs

bool is_loopback_host(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
    host = host.substr(0, colon);
  if (host == "localhost" || host == "[::1]") return true;
  return host.substr(0, 4) == "127." && host.find_first_not_of("0123456789.") == host.npos;
}

}  // namespace

using event::BodyReader;
using protocols::Route;
using protocols::Target;
using storage::Refusal;

PipelineImpl::PipelineImpl(const PipelineOptions& options, const PipelineDeps& deps,
                           std::shared_ptr<const event::KeyTable> keys)
    : options_(options),
      loop_(deps.loop),
      store_(deps.store),
      clock_(deps.clock),
      budget_(deps.budget),
      user_tokens_(deps.user_tokens),
      pressure_gauge_(deps.pressure),
      secret_(deps.store.dedupe_secret()),
      router_(protocols::all_adapters()),
      ack_(router_, deps.store, deps.metrics, options.retry_after_seconds),
      parser_(options.limits.depth),
      appender_(deps.store.make_appender(deps.loop.wakeup())),
      keys_(new KeyEpoch{std::move(keys), 0}),
      pool_(*this, parser_, options.limits),
      deadline_(*this),
      tap_(deps.metrics),
      slice_seconds_(deps.metrics.histogram(Metric::kParseSliceSeconds)),
      slice_overruns_(deps.metrics.counter(Metric::kParseSliceOverruns)),
      request_slices_(deps.metrics.histogram(Metric::kRequestSlices)) {
  WEIR_CHECK(keys_->table != nullptr);
  loop_.add_turn_hook(*this);
  loop_.on_wakeup([this] { collect_outcomes(); });
}

// ---- before the body

http::HeadVerdict PipelineImpl::on_head(const http::Request& request) {
  http::HeadVerdict verdict;
  const auto refuse = [&](http::HttpError error) {
    verdict.accept = false;
    verdict.error = std::move(error);
    return verdict;
  };
  const Target* const target = router_.find(request.path);
  if (target == nullptr) {
    if (is_health_path(request.path)) return verdict;
    return refuse({404, "not_found", "there is nothing at this path", 0, false});
  }
  // A wrong method is answered by on_request(), which can name the right one.
  if (target->route->use == Route::Use::kInfo || request.method != target->route->method)
    return verdict;
  const protocols::RequestHead head = protocols::read_head(request);
  if (auto error = target->adapter->check_head(head, options_.max_body_bytes))
    return refuse(std::move(*error));
  const Refusal refusal = store_.admission();
  if (refusal != Refusal::kNone) return refuse(ack_.unavailable(refusal));
  if (budget_ != nullptr && budget_->used() >= budget_->limit())
    return refuse(ack_.unavailable("body_memory", "too many request bodies are in memory"));
  verdict.max_body_bytes = options_.max_body_bytes;
  return verdict;
}

std::string PipelineImpl::shape_error(const http::Request& request, const http::HttpError& error) {
  const Target* const target = router_.find(request.path);
  return target == nullptr ? http::error_body(error.code, error.message)
                           : target->adapter->shape_error(error);
}

// A preflight rarely says which key will come; then it is enough that some key allows the origin,
// and the request itself is held against its own key.
bool PipelineImpl::allows_origin(const http::Request& request, std::string_view origin) {
  const Target* const target = router_.find(request.path);
  if (target != nullptr) {
    const NamedKey named =
        credentials_.from_head(protocols::read_head(request), *target->adapter, *keys_->table);
    if (named.key != nullptr) return named.key->allows_origin(origin);
  }
  return keys_->table->any_allows_origin(origin);
}

// ---- the ingest order

void PipelineImpl::on_request(http::Exchange& exchange) {
  look_at_pressure();
  const Target* const target = router_.find(exchange.request().path);
  if (target == nullptr) {
    if (answer_health(exchange, store_, {pressure_gauge_, pressure_}, ack_,
                      options_.retry_after_seconds))
      return;
    return ack_.error(exchange, nullptr,
                      {404, "not_found", "there is nothing at this path", 0, false});
  }
  if (exchange.request().method != target->route->method) {
    const bool post = target->route->method == http::Method::kPost;
    return ack_.error(exchange, target,
                      {405, "method_not_allowed", "this path does not serve the method", 0, false},
                      post ? "Allow: POST, OPTIONS\r\n" : "Allow: GET, OPTIONS\r\n");
  }
  if (target->route->use == Route::Use::kInfo) {
    const protocols::RequestHead head = protocols::read_head(exchange.request());
    return ack_.answer(exchange, target,
                       target->adapter->info(head, target->route->variant, ack_.scratch()));
  }
  Ingest& ingest = take_ingest(exchange, *target);
  if (refuse_open_mode(ingest.head)) {
    fail(ingest, {403, "open_mode", "without keys only loopback clients are served; configure keys",
                  0, false});
    return;
  }
  if (find_key(ingest) == Verdict::kAnswered) return;
  if (target->route->use == Route::Use::kBody)
    ingest.reader.start(ingest.body.view(),
                        target->adapter->plan(ingest.head, target->route->variant));
  work(ingest);
}

bool PipelineImpl::refuse_open_mode(const protocols::RequestHead& head) const {
  return options_.open_mode && (head.forwarded || !is_loopback_host(head.host));
}

PipelineImpl::Verdict PipelineImpl::find_key(Ingest& ingest) {
  const event::KeyTable& table = *ingest.keys->table;
  const protocols::RequestHead& head = ingest.head;
  if (table.open()) {
    ingest.key = table.default_key();
  } else {
    const NamedKey named = credentials_.from_head(head, *ingest.target->adapter, table);
    if (named.named && named.key == nullptr)
      return fail(ingest, {401, "unknown_key", "the write key is unknown", 0, false});
    ingest.key = named.key;
  }
  if (ingest.key != nullptr && !head.origin.empty() && !ingest.key->allows_origin(head.origin))
    return fail(ingest, {403, "origin_not_allowed", "the write key is not allowed for this origin",
                         0, false});
  if (check_rate(ingest) == Verdict::kAnswered) return Verdict::kAnswered;
  ingest.verbose = protocols::query_flag(head.query, "verbose");
  if (!ingest.target->adapter->bearer_is_key() && user_tokens_ != nullptr) {
    std::string_view token;
    std::string user;
    if (http::parse_bearer_auth(head.authorization, token) &&
        user_tokens_->verify(token, loop_.wall_ms(), &user))
      ingest.user_id = ingest.arena.copy(user);
  }
  return Verdict::kGoOn;
}

void PipelineImpl::work(Ingest& ingest) {
  const int64_t started_ns = clock_.monotonic_ns();
  size_t look_at = ingest.reader.position() + kLookBytes;
  for (;;) {
    BodyReader::Step step = BodyReader::Step::kEnd;
    if (ingest.target->route->use == Route::Use::kBody) {
      step = ingest.reader.next();
    } else if (!ingest.query_done) {
      ingest.query_done = true;
      step = BodyReader::Step::kEvent;
    }
    Verdict verdict = Verdict::kGoOn;
    switch (step) {
      case BodyReader::Step::kMore:
        break;
      case BodyReader::Step::kHead:
        verdict = take_wrapper(ingest);
        break;
      case BodyReader::Step::kEvent:
        verdict = ingest.query_done
                      ? take_event(ingest, nullptr, ingest.arena.copy(ingest.head.query))
                      : take_event(ingest, &parser_, ingest.reader.event());
        break;
      case BodyReader::Step::kRejected: {
        const BodyReader::Rejection& rejection = ingest.reader.rejection();
        if (tap_.on()) tap_rejected(ingest, rejection.reason, {});
        reject(ingest, ingest.reader.index(), rejection.reason,
               ingest.arena.copy(
                   fmt::format("{} at byte {}", rejection.detail.reason, rejection.detail.offset)),
               {});
        break;
      }
      case BodyReader::Step::kEnd:
        end_slice(ingest, started_ns);
        return submit(ingest);
      case BodyReader::Step::kError:
        end_slice(ingest, started_ns);
        fail(ingest, ingest.target->adapter->body_error(ingest.reader));
        return;
    }
    if (verdict == Verdict::kAnswered) return;
    if (ingest.reader.position() < look_at) continue;
    look_at = ingest.reader.position() + kLookBytes;
    // Most is left for what follows the look and for other threads on the same core, so that only a
    // large event makes an overrun.
    if (clock_.monotonic_ns() - started_ns < options_.slice_us * 250) continue;
    end_slice(ingest, started_ns);
    if (charge(ingest)) loop_.defer(ingest);
    return;
  }
}

// The batch-level fields: they may name the key, and every event of the batch keeps them.
PipelineImpl::Verdict PipelineImpl::take_wrapper(Ingest& ingest) {
  if (auto error = ingest.target->adapter->check_wrapper(ingest.reader))
    return fail(ingest, *error);
  ingest.envelope = ingest.reader.envelope(ingest.arena);
  if (ingest.key != nullptr) return Verdict::kGoOn;
  const NamedKey named = credentials_.from_wrapper(ingest.reader, *ingest.keys->table);
  if (!named.named) return Verdict::kGoOn;
  if (named.key == nullptr)
    return fail(ingest, {401, "unknown_key", "the write key is unknown", 0, false});
  ingest.key = named.key;
  if (!ingest.head.origin.empty() && !ingest.key->allows_origin(ingest.head.origin))
    return fail(ingest, {403, "origin_not_allowed", "the write key is not allowed for this origin",
                         0, false});
  return check_rate(ingest);
}

// One checked event: canonical fields -> key -> rules -> privacy -> fingerprint -> encode.
PipelineImpl::Verdict PipelineImpl::take_event(Ingest& ingest, const event::EventParser* parser,
                                               std::string_view raw) {
  const protocols::EventInput input{ingest.head,    ingest.reader,
                                    parser,         ingest.target->route->variant,
                                    ingest.user_id, ingest.arena};
  const uint32_t index = parser == nullptr ? 0 : ingest.reader.index();
  EventFields fields;
  fields.raw = raw;
  const event::Key* key = nullptr;
  const std::string_view reason = judge(ingest, input, fields, &key);
  if (!reason.empty()) {
    if (tap_.on()) tap_rejected(ingest, reason, fields);
    // Reasons and ids live until the answer; the key table may be gone by then, the arena is not.
    reject(ingest, index, ingest.arena.copy(reason), {}, ingest.arena.copy(fields.id));
    return Verdict::kGoOn;
  }
  if (fields.priority < shed_below_) return shed(ingest, index, fields);
  complete(ingest, *key, fields);
  keep_private(*key, fields);
  return append(ingest, *key, fields, index);
}

// Why the event is not stored, empty when it is. Sets *key when it is.
std::string_view PipelineImpl::judge(Ingest& ingest, const protocols::EventInput& input,
                                     EventFields& fields, const event::Key** key) {
  *key = ingest.key != nullptr ? ingest.key : key_of_event(ingest, input.parser);
  if (*key == nullptr) {
    ++ingest.key_rejections;
    return "unknown_key";
  }
  if (ingest.key == nullptr && !ingest.head.origin.empty() &&
      !(*key)->allows_origin(ingest.head.origin)) {
    ++ingest.origin_rejections;
    return "origin_not_allowed";
  }
  if (ingest.key == nullptr && (*key)->rate != nullptr &&
      (*key)->rate->wait_ns(loop_.now_ns()) > 0) {
    ++ingest.rate_rejections;
    return "rate_limited";
  }
  fields.priority = (*key)->priority;
  const std::string_view reason = ingest.target->adapter->read_event(input, fields);
  if (!reason.empty() || (*key)->rules.empty()) return reason;
  return (*key)->rules.check(
      [&](const event::FieldRule& rule) { return protocols::find_for_rule(input, fields, rule); });
}

const event::Key* PipelineImpl::key_of_event(Ingest& ingest, const event::EventParser* parser) {
  const event::KeyTable& table = *ingest.keys->table;
  if (parser != nullptr) {
    const NamedKey named = credentials_.from_event(*parser, table);
    if (named.named) return named.key;
  }
  return table.default_key();
}

// What the server knows about the event.
void PipelineImpl::complete(const Ingest& ingest, const event::Key& key,
                            EventFields& fields) const {
  fields.source = ingest.target->adapter->name();
  fields.tenant = key.tenant;
  fields.key_name = key.name;
  fields.sandbox = key.sandbox;
  fields.envelope = ingest.envelope;
  if (fields.shop_id.empty()) fields.shop_id = key.shop;
  fields.user_agent = ingest.head.user_agent;
  fields.ip = ingest.head.client_ip;
}

// The last step before anything is encoded: what must not be stored leaves the event here. The
// client's address is kept only where the key asks for it.
void PipelineImpl::keep_private(const event::Key& key, EventFields& fields) const {
  if (!key.keep_ip) fields.ip = {};
}

PipelineImpl::Verdict PipelineImpl::append(Ingest& ingest, const event::Key& key,
                                           const EventFields& fields, uint32_t index) {
  storage::AppendEntry entry;
  entry.fingerprint = event::choose_fingerprint(
      secret_, fields, {ingest.head.idempotency_key, index, key.hash_content});
  entry.tenant = key.tenant;
  if (ingest.request_fields_key != &key) {
    ingest.request_fields = event::encode_request_fields(fields, ingest.arena);
    ingest.request_fields_key = &key;
  }
  entry.head = event::encode_head(fields, ingest.request_fields, ingest.arena);
  entry.raw = fields.raw;
  ingest.encoded_bytes += entry.head.size();
  if (ingest.encoded_bytes > options_.limits.encoded_bytes ||
      entry.head.size() > storage::kMaxHeadBytes)
    return fail(ingest,
                {413, "envelope_too_large",
                 "the fields beside the events are too large for so many events", 0, false});
  ingest.entries.push_back(entry);
  ingest.indexes.push_back(index);
  if (ingest.key == nullptr && key.rate != nullptr) key.rate->take(1, loop_.now_ns());
  return Verdict::kGoOn;
}

// The whole body was grammatical. Everything that is to be stored goes to the store at once.
void PipelineImpl::submit(Ingest& ingest) {
  request_slices_.record(ingest.slices);
  if (ingest.entries.empty()) {
    ack_.committed(ingest);
    return release(ingest);
  }
  if (!charge(ingest)) return;
  const Refusal refusal = store_.admission();
  if (refusal != Refusal::kNone) {
    fail(ingest, ack_.unavailable(refusal));
    return;
  }
  ingest.append.entries = ingest.entries;
  ingest.append.received_at_ms = loop_.wall_ms();
  ingest.append.context = &ingest;
  ingest.append.outcome = storage::AppendOutcome::kPending;
  ingest.append.refusal = Refusal::kNone;
  ingest.append.next = nullptr;
  if (ingest.key != nullptr && ingest.key->rate != nullptr)
    ingest.key->rate->take(ingest.entries.size(), loop_.now_ns());
  // Before lending: afterwards the key may be replaced at any time.
  const bool received = ingest.key != nullptr && ingest.key->may_ack_received &&
                        ingest.shed_rejections == 0 &&
                        http::raw_query_value(ingest.head.query, "ack") == "received";
  lend(ingest);
  if (received) ack_.received(ingest);
}

void PipelineImpl::collect_outcomes() {
  for (storage::AppendRequest* request = appender_->take_outcomes(); request != nullptr;) {
    storage::AppendRequest* const next = request->next;
    Ingest& ingest = *static_cast<Ingest*>(request->context);
    lent_.remove(ingest);
    if (request->outcome == storage::AppendOutcome::kCommitted) {
      if (tap_.on()) tap_outcomes(ingest);
      ack_.committed(ingest);
    } else {
      ack_.refused(ingest);
    }
    release(ingest);
    request = next;
  }
}

std::unique_ptr<Pipeline> Pipeline::create(const PipelineOptions& options, const PipelineDeps& deps,
                                           std::shared_ptr<const event::KeyTable> keys) {
  return std::make_unique<PipelineImpl>(options, deps, std::move(keys));
}

}  // namespace weir
