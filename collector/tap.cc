#include "collector/tap.h"

#include <algorithm>

namespace weir {

void Tap::offer(int64_t now_ms, std::string_view outcome, std::string_view reason,
                const EventFields& fields, Position position) {
  const bool wanted =
      std::any_of(watch_->filters.begin(), watch_->filters.end(), [&](const TapFilter& filter) {
        return filter.wants(fields.tenant, fields.name, fields.source, outcome);
      });
  if (!wanted) return;
  if (second_ != now_ms / 1000) {
    second_ = now_ms / 1000;
    this_second_ = 0;
  }
  if (++this_second_ > TapQueue::kMaxPerSecond) return dropped_.add();
  auto event = std::make_unique<TapEvent>();
  event->at_ms = now_ms;
  event->outcome = outcome;
  event->reason = reason;
  event->source = fields.source;
  event->tenant = fields.tenant;
  event->key = fields.key_name;
  event->name = fields.name;
  event->id = fields.id;
  event->position = position;
  event->raw_encoding = fields.raw_encoding;
  event->raw_bytes = fields.raw.size();
  if (fields.raw.size() <= TapQueue::kMaxRaw) event->raw = fields.raw;
  if (!watch_->queue->push(std::move(event))) dropped_.add();
}

}  // namespace weir
