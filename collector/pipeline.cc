#include "collector/pipeline.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "collector/ack.h"
#include "collector/credentials.h"
#include "collector/event/encoder.h"
#include "collector/health.h"
#include "collector/http/query.h"
#include "collector/ingest.h"
#include "collector/protocols/canonical.h"
#include "storage/base/check.h"

namespace weir {
namespace {

using event::BodyReader;
using protocols::Route;
using protocols::Target;
using storage::Refusal;

constexpr size_t kLookBytes = 4 << 10;  // how often a slice looks at the clock: every few µs

bool is_loopback_host(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
    host = host.substr(0, colon);
  if (host == "localhost" || host == "[::1]") return true;
  return host.substr(0, 4) == "127." && host.find_first_not_of("0123456789.") == host.npos;
}

class PipelineImpl final : public Pipeline, public reactor::TurnHook, public Ingest::Worker {
 public:
  PipelineImpl(const PipelineOptions& options, const PipelineDeps& deps,
               std::shared_ptr<const event::KeyTable> keys);

  http::HeadVerdict on_head(const http::Request& request) override;
  void on_request(http::Exchange& exchange) override;
  std::string shape_error(const http::Request& request, const http::HttpError& error) override;
  bool allows_origin(const http::Request& request, std::string_view origin) override;

  void set_keys(std::shared_ptr<const event::KeyTable> keys) override;
  void collect_outcomes() override;
  unsigned in_flight() const override { return pool_.in_use(); }

 private:
  enum class Verdict : uint8_t { kGoOn, kAnswered };
  class DeadlineTimer final : public reactor::Timer {
   public:
    explicit DeadlineTimer(PipelineImpl& owner) : owner_(owner) {}
    void on_timer() override { owner_.expire(); }

   private:
    PipelineImpl& owner_;
  };

  void before_sleep() override { appender_->flush(); }

  // The order, each step in its place.
  Verdict find_key(Ingest& ingest);
  void work(Ingest& ingest) override;  // split -> parse -> take_event …, one slice of it
  Verdict take_wrapper(Ingest& ingest);
  Verdict take_event(Ingest& ingest, const event::EventParser* parser, std::string_view raw);
  std::string_view judge(Ingest& ingest, const protocols::EventInput& input, EventFields& fields,
                         const event::Key** key);
  void complete(const Ingest& ingest, const event::Key& key, EventFields& fields) const;
  void keep_private(const event::Key& key, EventFields& fields) const;
  Verdict append(Ingest& ingest, const event::Key& key, const EventFields& fields, uint32_t index);
  void submit(Ingest& ingest);

  const event::Key* key_of_event(Ingest& ingest, const event::EventParser* parser);
  void reject(Ingest& ingest, uint32_t index, std::string_view reason, std::string_view detail,
              std::string_view id);
  Verdict fail(Ingest& ingest, const http::HttpError& error);
  bool refuse_open_mode(const protocols::RequestHead& head) const;
  bool charge(Ingest& ingest);
  void end_slice(Ingest& ingest, int64_t started_ns);

  Ingest& take_ingest(http::Exchange& exchange, const Target& target);
  void release(Ingest& ingest);
  void release_epoch(KeyEpoch* epoch);
  void lend(Ingest& ingest);
  void expire();

  PipelineOptions options_;
  reactor::Loop& loop_;
  storage::Store& store_;
  const Clock& clock_;
  const http::BodyBudget* budget_;
  const protocols::UserTokenVerifier* user_tokens_;
  DedupeSecret secret_;

  protocols::Router router_;
  Acknowledger ack_;
  CredentialReader credentials_;
  event::EventParser parser_;
  std::unique_ptr<storage::Appender> appender_;
  std::unique_ptr<KeyEpoch> keys_;
  std::vector<std::unique_ptr<KeyEpoch>> retired_;

  IngestPool pool_;
  LentList lent_;
  uint64_t charged_bytes_ = 0;
  DeadlineTimer deadline_;

  Histogram& slice_seconds_;
  Counter& slice_overruns_;
  Histogram& request_slices_;
};

PipelineImpl::PipelineImpl(const PipelineOptions& options, const PipelineDeps& deps,
                           std::shared_ptr<const event::KeyTable> keys)
    : options_(options),
      loop_(deps.loop),
      store_(deps.store),
      clock_(deps.clock),
      budget_(deps.budget),
      user_tokens_(deps.user_tokens),
      secret_(deps.store.dedupe_secret()),
      router_(protocols::all_adapters()),
      ack_(router_, deps.store, deps.metrics, options.retry_after_seconds),
      parser_(options.limits.depth),
      appender_(deps.store.make_appender(deps.loop.wakeup())),
      keys_(new KeyEpoch{std::move(keys), 0}),
      pool_(*this, parser_, options.limits),
      deadline_(*this),
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
  const Target* const target = router_.find(exchange.request().path);
  if (target == nullptr) {
    if (answer_health(exchange, store_, ack_, options_.retry_after_seconds)) return;
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
    if (clock_.monotonic_ns() - started_ns < options_.slice_us * 1000) continue;
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
  return Verdict::kGoOn;
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
    // Reasons and ids live until the answer; the key table may be gone by then, the arena is not.
    reject(ingest, index, ingest.arena.copy(reason), {}, ingest.arena.copy(fields.id));
    return Verdict::kGoOn;
  }
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
  entry.head = event::encode_head(fields, ingest.arena);
  entry.raw = fields.raw;
  ingest.encoded_bytes += entry.head.size();
  if (ingest.encoded_bytes > options_.limits.encoded_bytes)
    return fail(ingest,
                {413, "envelope_too_large",
                 "the fields beside the events are too large for so many events", 0, false});
  ingest.entries.push_back(entry);
  ingest.indexes.push_back(index);
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
  // Before lending: afterwards the key may be replaced at any time.
  const bool received = ingest.key != nullptr && ingest.key->may_ack_received &&
                        http::raw_query_value(ingest.head.query, "ack") == "received";
  lend(ingest);
  if (received) ack_.received(ingest);
}

void PipelineImpl::collect_outcomes() {
  for (storage::AppendRequest* request = appender_->take_outcomes(); request != nullptr;) {
    storage::AppendRequest* const next = request->next;
    Ingest& ingest = *static_cast<Ingest*>(request->context);
    lent_.remove(ingest);
    if (request->outcome == storage::AppendOutcome::kCommitted)
      ack_.committed(ingest);
    else
      ack_.refused(ingest);
    release(ingest);
    request = next;
  }
}

// ---- parts of the steps

void PipelineImpl::reject(Ingest& ingest, uint32_t index, std::string_view reason,
                          std::string_view detail, std::string_view id) {
  ack_.count_rejected(*ingest.target, reason);
  ingest.rejected.push_back({index, reason, detail, id});
}

PipelineImpl::Verdict PipelineImpl::fail(Ingest& ingest, const http::HttpError& error) {
  ack_.failed(ingest, error);
  release(ingest);
  return Verdict::kAnswered;
}

bool PipelineImpl::refuse_open_mode(const protocols::RequestHead& head) const {
  return options_.open_mode && (head.forwarded || !is_loopback_host(head.host));
}

// Keeps the account of memory that requests hold beside their bodies. False: over the limit, the
// request was answered.
bool PipelineImpl::charge(Ingest& ingest) {
  const size_t bytes =
      ingest.arena.capacity() + ingest.entries.capacity() * sizeof(storage::AppendEntry);
  charged_bytes_ += bytes - ingest.charged_bytes;
  ingest.charged_bytes = bytes;
  if (charged_bytes_ <= options_.event_memory_bytes) return true;
  fail(ingest, ack_.unavailable("event_memory", "too many events wait for their commit"));
  return false;
}

void PipelineImpl::end_slice(Ingest& ingest, int64_t started_ns) {
  const int64_t spent_ns = clock_.monotonic_ns() - started_ns;
  ++ingest.slices;
  slice_seconds_.record(static_cast<uint64_t>(spent_ns));
  if (spent_ns > options_.slice_us * 1000 * 2) slice_overruns_.add();
}

// ---- requests in memory

Ingest& PipelineImpl::take_ingest(http::Exchange& exchange, const Target& target) {
  Ingest& ingest = pool_.take();
  ingest.exchange = &exchange;
  ingest.head = protocols::read_head(exchange.request());
  ingest.body = std::move(exchange.request().body);
  ingest.target = &target;
  ingest.keys = keys_.get();
  ++keys_->users;
  return ingest;
}

void PipelineImpl::release(Ingest& ingest) {
  release_epoch(ingest.keys);
  charged_bytes_ -= ingest.charged_bytes;
  pool_.give_back(ingest);
}

void PipelineImpl::set_keys(std::shared_ptr<const event::KeyTable> keys) {
  WEIR_CHECK(keys != nullptr);
  if (keys_->users > 0) retired_.push_back(std::move(keys_));
  keys_ = std::unique_ptr<KeyEpoch>(new KeyEpoch{std::move(keys), 0});
}

void PipelineImpl::release_epoch(KeyEpoch* epoch) {
  if (--epoch->users > 0 || epoch == keys_.get()) return;
  std::erase_if(retired_, [&](const auto& retired) { return retired.get() == epoch; });
}

// Hands the request to the store; it is due in commit_deadline.
void PipelineImpl::lend(Ingest& ingest) {
  const int64_t deadline_ns = options_.commit_deadline_ms * 1'000'000;
  ingest.deadline_ns = loop_.now_ns() + deadline_ns;
  lent_.push(ingest);
  if (!deadline_.armed()) loop_.arm(deadline_, deadline_ns);
  appender_->append(ingest.append);
}

// Answers what is overdue. The requests stay: the store still has them.
void PipelineImpl::expire() {
  const int64_t now_ns = loop_.now_ns();
  Ingest* ingest = lent_.oldest();
  for (; ingest != nullptr && ingest->deadline_ns <= now_ns; ingest = ingest->newer)
    ack_.outcome_unknown(*ingest);
  if (ingest != nullptr) loop_.arm(deadline_, ingest->deadline_ns - now_ns);
}

}  // namespace

std::unique_ptr<Pipeline> Pipeline::create(const PipelineOptions& options, const PipelineDeps& deps,
                                           std::shared_ptr<const event::KeyTable> keys) {
  return std::make_unique<PipelineImpl>(options, deps, std::move(keys));
}

}  // namespace weir
