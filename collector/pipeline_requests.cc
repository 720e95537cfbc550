// What the pipeline keeps about requests in memory: failing and forgetting them, the account of
// their memory, key tables that are still used, deadlines.
#include "collector/pipeline_impl.h"
#include "storage/base/check.h"

namespace weir {

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

// Once per turn: the turn's time is the same until the next one.
void PipelineImpl::look_at_pressure() {
  if (pressure_gauge_ == nullptr || looked_ns_ == loop_.now_ns()) return;
  looked_ns_ = loop_.now_ns();
  pressure_ = pressure_gauge_->look(looked_ns_);
  shed_below_ = shed_below(pressure_);
}

PipelineImpl::Verdict PipelineImpl::shed(Ingest& ingest, uint32_t index,
                                         const EventFields& fields) {
  ++ingest.shed_rejections;
  ingest.shed_reason = shed_reason(fields.priority, pressure_.cause);
  ack_.count_shed(fields.priority, pressure_.cause);
  if (tap_.on()) tap_rejected(ingest, ingest.shed_reason, fields);
  reject(ingest, index, ingest.shed_reason, {}, ingest.arena.copy(fields.id));
  return Verdict::kGoOn;
}

// ---- live events, only while somebody watches

void PipelineImpl::tap_rejected(const Ingest& ingest, std::string_view reason, EventFields fields) {
  fields.source = ingest.target->adapter->name();
  if (ingest.key != nullptr) {
    fields.tenant = ingest.key->tenant;
    fields.key_name = ingest.key->name;
  }
  tap_.offer(loop_.wall_ms(), "rejected", reason, fields, {});
}

void PipelineImpl::tap_outcomes(const Ingest& ingest) {
  for (const storage::AppendEntry& entry : ingest.entries) {
    EventFields fields;
    if (!decode_event_record(entry.head, entry.raw, &fields)) continue;
    const bool duplicate = entry.outcome == storage::EntryOutcome::kDuplicate;
    tap_.offer(loop_.wall_ms(), duplicate ? "duplicate" : "stored", {}, fields,
               {entry.shard, entry.number});
  }
}

// ---- rates

// Before a key's body is parsed: what it may send is used up. What the request brings is taken when
// it goes to the store.
PipelineImpl::Verdict PipelineImpl::check_rate(Ingest& ingest) {
  if (ingest.key == nullptr || ingest.key->rate == nullptr) return Verdict::kGoOn;
  const int64_t wait_ns = ingest.key->rate->wait_ns(loop_.now_ns());
  if (wait_ns == 0) return Verdict::kGoOn;
  return fail(ingest, ack_.rate_limited(*ingest.key, wait_ns));
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
  if (spent_ns > options_.slice_us * 1000) slice_overruns_.add();
}

// ---- requests in memory

Ingest& PipelineImpl::take_ingest(http::Exchange& exchange, const protocols::Target& target) {
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

void PipelineImpl::set_limits(const PipelineLimits& limits) {
  options_.limits = limits.events;
  options_.event_memory_bytes = limits.event_memory_bytes;
  options_.retry_after_seconds = limits.retry_after_seconds;
  ack_.set_retry_after_seconds(limits.retry_after_seconds);
  parser_.set_max_depth(limits.events.depth);
  pool_.set_limits(limits.events);
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

}  // namespace weir
