#include "collector/ingest.h"

namespace weir {

Ingest& IngestPool::take() {
  ++in_use_;
  if (idle_.empty()) return *new Ingest(worker_, parser_, limits_);
  std::unique_ptr<Ingest> ingest = std::move(idle_.back());
  idle_.pop_back();
  ingest->reader.set_limits(limits_);
  return *ingest.release();
}

void IngestPool::give_back(Ingest& given) {
  std::unique_ptr<Ingest> ingest(&given);
  --in_use_;
  if (idle_.size() >= kKeepRequests) return;
  ingest->exchange = nullptr;
  ingest->body = http::Body();
  ingest->target = nullptr;
  ingest->keys = nullptr;
  ingest->key = nullptr;
  ingest->verbose = ingest->query_done = false;
  ingest->arena.reset();
  ingest->charged_bytes = ingest->encoded_bytes = 0;
  ingest->envelope = ingest->user_id = ingest->request_fields = {};
  ingest->request_fields_key = nullptr;
  ingest->slices = ingest->key_rejections = ingest->origin_rejections = 0;
  ingest->shed_rejections = ingest->rate_rejections = 0;
  ingest->entries.clear();
  ingest->indexes.clear();
  ingest->rejected.clear();
  if (ingest->entries.capacity() > kKeepEntries) ingest->entries.shrink_to_fit();
  if (ingest->indexes.capacity() > kKeepEntries) ingest->indexes.shrink_to_fit();
  if (ingest->rejected.capacity() > kKeepEntries) ingest->rejected.shrink_to_fit();
  idle_.push_back(std::move(ingest));
}

void LentList::push(Ingest& ingest) {
  ingest.newer = nullptr;
  ingest.older = newest_;
  (newest_ == nullptr ? oldest_ : newest_->newer) = &ingest;
  newest_ = &ingest;
}

void LentList::remove(Ingest& ingest) {
  (ingest.older == nullptr ? oldest_ : ingest.older->newer) = ingest.newer;
  (ingest.newer == nullptr ? newest_ : ingest.newer->older) = ingest.older;
  ingest.newer = ingest.older = nullptr;
}

}  // namespace weir
