#include "collector/ack.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/base/event_record.h"

namespace weir {

using protocols::EventResult;
using protocols::Outcome;
using storage::AppendEntry;
using storage::EntryOutcome;

Acknowledger::Acknowledger(const protocols::Router& router, const storage::Store& store,
                           MetricRegistry& metrics, int retry_after_seconds)
    : store_(store),
      metrics_(metrics),
      retry_after_seconds_(retry_after_seconds),
      store_id_(store.id().text()) {
  for (const protocols::Adapter* adapter : router.adapters()) {
    const std::string name(adapter->name());
    ProtocolCounters& counters = counters_.emplace_back();
    counters.stored = &metrics_.counter(Metric::kEvents, {name, "stored", ""});
    counters.duplicate = &metrics_.counter(Metric::kEvents, {name, "duplicate", ""});
    counters.ok = &metrics_.counter(Metric::kHttpRequests, {name, "200"});
  }
}

void Acknowledger::committed(Ingest& ingest) {
  count_outcomes(ingest);
  if (ingest.exchange == nullptr) return;
  // Without any event that had a usable key the request as a whole is refused.
  const size_t rejected = ingest.rejected.size();
  if (ingest.entries.empty() && rejected > 0) {
    http::HttpError error;
    if (ingest.key_rejections == rejected) {
      error = {401, "unknown_key", "the write key is missing or unknown", 0, false};
      return failed(ingest, error);
    }
    if (ingest.origin_rejections == rejected) {
      error = {403, "origin_not_allowed", "the write key is not allowed for this origin", 0, false};
      return failed(ingest, error);
    }
    if (ingest.rate_rejections == rejected) {
      error = {429, "rate_limited", "the write keys of the events are over their rates", 1, false};
      return failed(ingest, error);
    }
  }
  // Sending it again is safe: what was stored is a duplicate then.
  const bool all_shed = ingest.entries.empty() && ingest.shed_rejections == rejected;
  if (ingest.shed_rejections > 0 && (all_shed || !ingest.target->adapter->reports_each_event()))
    return failed(ingest, unavailable(ingest.shed_reason,
                                      "events of this priority are not taken now; send them again "
                                      "later"));
  respond_outcome(ingest, outcome_of(ingest));
}

void Acknowledger::received(Ingest& ingest) {
  Outcome outcome = outcome_of(ingest);
  outcome.received_only = true;
  respond_outcome(ingest, outcome);
}

void Acknowledger::refused(Ingest& ingest) {
  const std::string_view reason = storage::refusal_name(ingest.append.refusal);
  ProtocolCounters& counters = counters_[ingest.target->adapter_number];
  Counter*& counter = counters.refused[std::string(reason)];
  if (counter == nullptr)
    counter = &metrics_.counter(Metric::kEvents, {std::string(ingest.target->adapter->name()),
                                                  "refused", std::string(reason)});
  counter->add(ingest.entries.size());
  if (ingest.exchange != nullptr) failed(ingest, unavailable(ingest.append.refusal));
}

void Acknowledger::outcome_unknown(Ingest& ingest) {
  if (ingest.exchange == nullptr) return;
  failed(ingest, unavailable("outcome_unknown",
                             "the events were not committed in time; whether they will be is not "
                             "known, send them again with the same ids"));
}

void Acknowledger::failed(Ingest& ingest, const http::HttpError& failure) {
  http::Exchange& exchange = *ingest.exchange;
  ingest.exchange = nullptr;
  error(exchange, ingest.target, failure);
}

void Acknowledger::answer(http::Exchange& exchange, const protocols::Target* target,
                          const http::Response& response) {
  count_answer(target, response.status);
  exchange.respond(response);
}

void Acknowledger::error(http::Exchange& exchange, const protocols::Target* target,
                         const http::HttpError& error, std::string_view extra_headers) {
  text_ = target == nullptr ? http::error_body(error.code, error.message)
                            : target->adapter->shape_error(error);
  http::Response response;
  response.status = error.status;
  response.extra_headers = extra_headers;
  response.body = text_;
  response.close = error.close;
  response.retry_after_seconds = error.retry_after_seconds;
  answer(exchange, target, response);
}

http::HttpError Acknowledger::unavailable(storage::Refusal refusal) {
  return unavailable(storage::refusal_name(refusal),
                     "events cannot be committed now: " + store_.admission_detail());
}

http::HttpError Acknowledger::unavailable(std::string_view code, std::string_view message) {
  const auto found = unavailable_.find(code);
  Counter* const counter =
      found != unavailable_.end()
          ? found->second
          : unavailable_
                .emplace(code, &metrics_.counter(Metric::kPipelineErrors, {std::string(code)}))
                .first->second;
  counter->add();
  return {503, code, std::string(message), retry_after_seconds_, false};
}

void Acknowledger::count_rejected(const protocols::Target& target, std::string_view reason) {
  auto& by_reason = counters_[target.adapter_number].rejected;
  auto found = by_reason.find(reason);
  if (found == by_reason.end())
    found = by_reason
                .emplace(reason,
                         &metrics_.counter(Metric::kEvents, {std::string(target.adapter->name()),
                                                             "rejected", std::string(reason)}))
                .first;
  found->second->add();
}

void Acknowledger::count_shed(uint8_t priority, storage::PressureCause cause) {
  Counter*& counter = shed_[{priority, cause}];
  if (counter == nullptr)
    counter = &metrics_.counter(
        Metric::kEventsShed,
        {priority == 0 ? "low" : "normal", std::string(storage::pressure_cause_name(cause))});
  counter->add();
}

http::HttpError Acknowledger::rate_limited(const event::Key& key, int64_t wait_ns) {
  Counter*& counter = rate_limited_[key.name];
  if (counter == nullptr) counter = &metrics_.counter(Metric::kRateLimited, {key.name});
  counter->add();
  const auto seconds = static_cast<int>(std::min<int64_t>(wait_ns / 1'000'000'000 + 1, 3600));
  return {429, "rate_limited",
          fmt::format("the write key may send {} events a second and has used that up",
                      key.rate->per_second()),
          seconds, false};
}

void Acknowledger::count_outcomes(Ingest& ingest) {
  uint64_t stored = 0;
  for (const AppendEntry& entry : ingest.entries) stored += entry.outcome == EntryOutcome::kStored;
  ProtocolCounters& counters = counters_[ingest.target->adapter_number];
  counters.stored->add(stored);
  counters.duplicate->add(ingest.entries.size() - stored);
}

void Acknowledger::count_answer(const protocols::Target* target, int status) {
  if (target != nullptr && status == 200) return counters_[target->adapter_number].ok->add();
  auto& answers = target == nullptr ? other_answers_ : counters_[target->adapter_number].answers;
  Counter*& counter = answers[status];
  if (counter == nullptr)
    counter = &metrics_.counter(Metric::kHttpRequests,
                                {target == nullptr ? "none" : std::string(target->adapter->name()),
                                 std::to_string(status)});
  counter->add();
}

// The rows of the answer: what was rejected, and with ?verbose=1 everything, in order of index.
Outcome Acknowledger::outcome_of(Ingest& ingest) {
  Outcome outcome;
  outcome.rejected = ingest.rejected.size();
  results_.clear();
  const bool lent_only = ingest.append.outcome == storage::AppendOutcome::kPending;
  for (size_t i = 0; i < ingest.entries.size(); ++i) {
    const bool duplicate = !lent_only && ingest.entries[i].outcome == EntryOutcome::kDuplicate;
    ++(duplicate ? outcome.duplicates : outcome.accepted);
    if (!ingest.verbose) continue;
    results_.push_back(
        {ingest.indexes[i],
         duplicate ? EventResult::Status::kDuplicate : EventResult::Status::kAccepted,
         stored_id(ingest, ingest.entries[i]),
         {},
         {}});
  }
  for (const Rejected& row : ingest.rejected)
    results_.push_back({row.index, EventResult::Status::kRejected, row.id, row.reason, row.detail});
  if (ingest.verbose)
    std::sort(results_.begin(), results_.end(),
              [](const EventResult& a, const EventResult& b) { return a.index < b.index; });
  outcome.results = results_;
  return outcome;
}

// The client's id, or the one Weir gives: <store id>-<seq>. LIFETIME: the ingest's arena or head.
std::string_view Acknowledger::stored_id(Ingest& ingest, const AppendEntry& entry) {
  EventFields fields;
  if (decode_event_record(entry.head, entry.raw, &fields) && !fields.id.empty()) return fields.id;
  if (entry.number == 0) return {};
  const std::string id = store_id_ + "-" + Position{entry.shard, entry.number}.text();
  return ingest.arena.copy(id);
}

void Acknowledger::respond_outcome(Ingest& ingest, const Outcome& outcome) {
  respond(ingest, ingest.target->adapter->answer(outcome, text_));
}

void Acknowledger::respond(Ingest& ingest, const http::Response& response) {
  http::Exchange& exchange = *ingest.exchange;
  ingest.exchange = nullptr;
  answer(exchange, ingest.target, response);
}

}  // namespace weir
