#include "storage/appender.h"

#include "storage/base/check.h"

namespace weir::storage {

RefusalCounters make_refusal_counters(MetricRegistry& metrics) {
  RefusalCounters counters{};
  for (size_t i = 0; i < counters.size(); ++i)
    counters[i] = &metrics.counter(Metric::kStoreRefusals,
                                   {std::string(refusal_name(static_cast<Refusal>(i)))});
  return counters;
}

StoreAppender::StoreAppender(std::vector<PartSink*> shards, AppendQueue& queue,
                             Admission& admission, const RefusalCounters& refusals, Wakeup& wakeup)
    : shards_(std::move(shards)),
      queue_(queue),
      admission_(admission),
      refusals_(refusals),
      wakeup_(wakeup) {}

void StoreAppender::push(Chain& chain, AppendRequest* request) {
  request->next = nullptr;
  (chain.last == nullptr ? chain.first : chain.last->next) = request;
  chain.last = request;
}

void StoreAppender::append(AppendRequest& request) {
  WEIR_CHECK(!request.entries.empty());
  request.appender = this;
  request.outcome = AppendOutcome::kPending;
  request.refusal = Refusal::kNone;
  Refusal refusal = admission_.current();
  if (refusal == Refusal::kQueueFull) refusal = Refusal::kNone;  // judged below, as of now
  uint64_t bytes = 0;
  if (refusal == Refusal::kNone) {
    for (AppendEntry& entry : request.entries) {
      entry.shard = 0;
      bytes += queue_cost(entry);
    }
    if (queue_.bytes() + waiting_bytes_ + bytes > queue_.max_bytes()) {
      refusal = Refusal::kQueueFull;
      admission_.set(refusal,
                     "more append bytes wait than store.append_queue_bytes allows; the "
                     "disk is slower than the clients");
    }
  }
  if (refusal != Refusal::kNone) {
    request.outcome = AppendOutcome::kRefused;
    request.refusal = refusal;
    refusals_[static_cast<size_t>(refusal)]->add();
    push(refused_, &request);
    return;
  }
  waiting_bytes_ += bytes;
  if (shards_.size() == 1) {
    request.parts_left.store(1, std::memory_order_relaxed);
    add_part(request, 0);
    return;
  }
  split(request);
}

// Each entry goes to the shard its fingerprint names, so that a repeated key meets its original.
void StoreAppender::split(AppendRequest& request) {
  uint32_t seen = 0;
  for (AppendEntry& entry : request.entries) {
    if (entry.fingerprint.empty())
      next_shard_ = (next_shard_ + 1) % static_cast<unsigned>(shards_.size());
    entry.shard = static_cast<uint16_t>(
        entry.fingerprint.empty() ? next_shard_ : shard_of(entry.fingerprint, shards_.size()));
    seen |= uint32_t{1} << entry.shard;
  }
  request.parts_left.store(static_cast<uint32_t>(__builtin_popcount(seen)),
                           std::memory_order_relaxed);
  for (unsigned shard = 0; shard < shards_.size(); ++shard)
    if ((seen >> shard & 1) != 0) add_part(request, shard);
}

void StoreAppender::add_part(AppendRequest& request, unsigned shard) {
  AppendRequest::Part& part = request.parts[shard];
  part.request = &request;
  part.next = nullptr;
  part.done_entries = 0;
  part.shard = static_cast<uint16_t>(shard);
  Parts& parts = waiting_[shard];
  (parts.last == nullptr ? parts.first : parts.last->next) = &part;
  parts.last = &part;
}

void StoreAppender::flush() {
  if (waiting_bytes_ != 0) {
    queue_.add(waiting_bytes_);
    waiting_bytes_ = 0;
    for (unsigned shard = 0; shard < shards_.size(); ++shard) {
      Parts& parts = waiting_[shard];
      if (parts.first == nullptr) continue;
      const Parts taken = parts;
      parts = Parts{};
      shards_[shard]->submit(taken.first, taken.last);
    }
  }
  if (refused_.first != nullptr) {
    const Chain refused = refused_;
    refused_ = Chain{};
    outcomes_.push_chain(refused.first, refused.last);
    wakeup_.notify();
  }
}

AppendRequest* StoreAppender::take_outcomes() { return outcomes_.take_all(); }

bool StoreAppender::collect(unsigned shard, AppendRequest* request) {
  Chain& chain = answered_[shard].chain;
  const bool first = chain.first == nullptr;
  push(chain, request);
  return first;
}

void StoreAppender::deliver(unsigned shard) {
  Chain& chain = answered_[shard].chain;
  if (chain.first == nullptr) return;
  const Chain taken = chain;
  chain = Chain{};
  outcomes_.push_chain(taken.first, taken.last);
  wakeup_.notify();
}

void StoreAppender::deliver_one(AppendRequest* request) {
  outcomes_.push(request);
  wakeup_.notify();
}

}  // namespace weir::storage
