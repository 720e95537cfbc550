#include "forwarder/batch.h"

#include <algorithm>

#include "forwarder/limits.h"

namespace weir::forwarder {
namespace {

bool contains(const std::vector<std::string>& sorted, std::string_view value) {
  return sorted.empty() || std::binary_search(sorted.begin(), sorted.end(), value);
}

std::vector<std::string> sorted(std::vector<std::string> values) {
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

Fate judge(const storage::StoredEvent& event, const EventFilter& filter, EventFields* fields) {
  if (!decode_event_record(event.payload, fields)) return Fate::kUndecodable;
  return filter.wants(*fields) ? Fate::kSend : Fate::kSkip;
}

Status read_range(storage::Store& store, const storage::OpenRange& range, uint64_t* missing,
                  FunctionRef<void(const storage::StoredEvent&)> visit) {
  storage::ReadLimits limits;
  limits.last = range.last;
  limits.max_events = UINT64_MAX;
  limits.max_bytes = UINT64_MAX;
  for (uint64_t from = range.first; from <= range.last;) {
    auto read = store.read(range.shard, from, limits, [&](const storage::StoredEvent& event) {
      if (event.position.number > range.last) return false;
      visit(event);
      return true;
    });
    if (!read) return tl::unexpected(std::move(read).error());
    *missing += read->missing;
    if (read->at_end || read->next <= from) break;
    from = read->next;
  }
  return {};
}

void TenantTally::add(std::string_view tenant, uint64_t events) {
  total_ += events;
  if (last_ >= rows_.size() || rows_[last_].first != tenant) {
    const auto found = std::find_if(rows_.begin(), rows_.end(),
                                    [&](const auto& row) { return row.first == tenant; });
    last_ = static_cast<size_t>(found - rows_.begin());
    if (found == rows_.end()) rows_.emplace_back(tenant, 0);
  }
  rows_[last_].second += events;
}

void TenantTally::add_to(storage::LaneUpdate& update,
                         uint64_t storage::OutcomeCounts::*kind) const {
  update.counts.*kind += total_;
  for (const auto& [tenant, events] : rows_) update.tenants[tenant].*kind += events;
}

void TenantTally::clear() { *this = TenantTally(); }

void Batch::unload() {
  loaded = false;
  body = std::string();
  numbers = std::vector<uint64_t>();
  tenants.clear();
}

EventFilter::EventFilter(const DestinationOptions& options)
    : EventFilter(options.filter_tenants, options.filter_names, options.filter_sources, false) {}

EventFilter::EventFilter(std::vector<std::string> tenants, std::vector<std::string> names,
                         std::vector<std::string> sources, bool sandbox)
    : tenants_(sorted(std::move(tenants))),
      names_(sorted(std::move(names))),
      sources_(sorted(std::move(sources))),
      sandbox_(sandbox) {}

bool EventFilter::wants(const EventFields& fields) const {
  return (sandbox_ || !fields.sandbox) && contains(tenants_, fields.tenant) &&
         contains(names_, fields.name) && contains(sources_, fields.source);
}

BatchReader::BatchReader(storage::Store& store, const EventFilter& filter,
                         const BatchOptions& limits, std::string_view lane_name, uint16_t shard,
                         uint64_t from, std::unique_ptr<Encoder> encoder, uint64_t last)
    : store_(store),
      filter_(filter),
      limits_(limits),
      lane_name_(lane_name),
      shard_(shard),
      encoder_(std::move(encoder)),
      last_(last),
      first_(from),
      cursor_(from) {}

uint64_t BatchReader::unread() const {
  uint64_t end = store_.committed_end(shard_);
  if (last_ < end) end = last_ + 1;
  return end > cursor_ ? end - cursor_ : 0;
}

void BatchReader::reset() {
  first_ = cursor_;
  full_ = false;
  record_bytes_ = 0;
  missing_ = 0;
  numbers_.clear();
  tenants_.clear();
  skipped_.clear();
  undecodable_.clear();
}

void BatchReader::skip_to(uint64_t floor) {
  if (floor <= first_) return;
  // What was gathered below the floor belongs to nobody any more, and what lies above it is read
  // again: simpler than to cut an encoded buffer.
  cursor_ = floor;
  reset();
}

Status BatchReader::gather(uint64_t max_events, int64_t now_wall_ms) {
  max_events = std::max<uint64_t>(std::min(max_events, limits_.max_events), 1);
  // Before the read: inside of it nothing else may be asked of the store.
  if (number_ == 0) number_ = store_.next_batch_number();
  const std::string id = store_.batch_id(number_);
  bool at_end = false;
  while (!full_ && !at_end) {
    uint64_t stopped_at = 0;  // an event that belongs to the next batch
    uint64_t visited = 0;     // the last one that was taken or left out
    EventFields fields;
    const auto visit = [&](const storage::StoredEvent& event) {
      switch (judge(event, filter_, &fields)) {
        case Fate::kSkip:
          skipped_.add(fields.tenant);
          break;
        case Fate::kUndecodable:
          undecodable_.push_back(copy_undecodable(store_, event, lane_name_, now_wall_ms));
          break;
        case Fate::kSend:
          if (!numbers_.empty() && (numbers_.size() >= max_events ||
                                    record_bytes_ + event.payload.size() > limits_.max_bytes ||
                                    encoder_->bytes() > 2 * limits_.max_bytes)) {
            stopped_at = event.position.number;
            full_ = true;
            return false;
          }
          if (numbers_.empty()) encoder_->begin(id);
          encoder_->add(event, fields);
          numbers_.push_back(event.position.number);
          tenants_.add(fields.tenant);
          record_bytes_ += event.payload.size();
          break;
      }
      visited = event.position.number;
      // What is not sent has its bound too: one step of the lane stays short.
      full_ = numbers_.size() >= max_events || undecodable_.size() >= kMaxUndecodablePerUpdate ||
              skipped_.total() >= kMaxSkippedPerUpdate;
      return !full_;
    };
    storage::ReadLimits limits;
    limits.last = last_;
    limits.max_events = max_events;
    limits.max_bytes = limits_.max_bytes;
    auto read = store_.read(shard_, cursor_, limits, visit);
    if (!read) return tl::unexpected(std::move(read).error());
    missing_ += read->missing;
    at_end = read->at_end || (stopped_at == 0 && read->next <= cursor_);
    cursor_ = stopped_at != 0 ? stopped_at : std::max({cursor_, read->next, visited + 1});
    at_end = at_end || cursor_ > last_;
    full_ = full_ || missing_ >= kMaxMissingPerUpdate;
  }
  return {};
}

Result<bool> BatchReader::take(int64_t now_wall_ms, Batch* batch, storage::LaneUpdate* update,
                               uint64_t* missing) {
  if (last_ == UINT64_MAX) update->frontiers.emplace_back(shard_, cursor_);
  skipped_.add_to(*update, &storage::OutcomeCounts::skipped);
  update->counts.failed += undecodable_.size();
  // Whose the undecodable ones are nobody can say any more: only the lane counts them.
  for (storage::DeadLetter& letter : undecodable_) update->dead_letters.push_back(letter);
  *missing = missing_;
  const bool any = !numbers_.empty();
  if (any) {
    batch->range.number = number_;
    batch->range.shard = shard_;
    batch->range.first = first_;
    batch->range.last = cursor_ - 1;
    // Cut from what is sent once more: so that the store sees that it is no backlog either.
    if (last_ != UINT64_MAX)
      batch->range.owner = fmt::format("{}/batch", storage::OpenRange::kRequeued);
    batch->range.opened_ms = now_wall_ms;
    batch->range.first_attempt_ms = now_wall_ms;  // it follows as soon as this is durable
    batch->id = store_.batch_id(number_);
    batch->numbers = numbers_;
    batch->tenants = tenants_;
    WEIR_RETURN_IF_ERROR(encoder_->finish(&batch->body));
    batch->loaded = true;
    update->put.push_back(batch->range);
    number_ = 0;
  }
  reset();
  return any;
}

Status load_batch(storage::Store& store, const EventFilter& filter, Encoder& encoder, Batch* batch,
                  uint64_t* missing) {
  batch->unload();
  encoder.begin(batch->id);
  EventFields fields;
  WEIR_RETURN_IF_ERROR(
      read_range(store, batch->range, missing, [&](const storage::StoredEvent& event) {
        if (judge(event, filter, &fields) != Fate::kSend) return;
        encoder.add(event, fields);
        batch->numbers.push_back(event.position.number);
        batch->tenants.add(fields.tenant);
      }));
  WEIR_RETURN_IF_ERROR(encoder.finish(&batch->body));
  batch->loaded = true;
  return {};
}

Status load_letter(Encoder& encoder, Batch* batch) {
  const storage::DeadLetter& letter = *batch->letter;
  batch->unload();
  storage::StoredEvent event;
  event.position = letter.position;
  event.received_ms = letter.received_ms;
  event.payload = letter.payload;
  EventFields fields;
  if (!decode_event_record(letter.payload, &fields))
    return fail(ErrorCode::kCorrupt, "the record of dead letter {} cannot be decoded", letter.id);
  encoder.begin(batch->id);
  encoder.add(event, fields);
  batch->numbers.push_back(letter.position.number);
  batch->tenants.add(fields.tenant);
  WEIR_RETURN_IF_ERROR(encoder.finish(&batch->body));
  batch->loaded = true;
  return {};
}

storage::DeadLetter copy_undecodable(const storage::Store& store, const storage::StoredEvent& event,
                                     std::string_view lane_name, int64_t now_wall_ms) {
  storage::DeadLetter letter = copy_event(store, event, EventFields{}, lane_name);
  letter.failed_ms = now_wall_ms;
  letter.reason = "undecodable";
  letter.detail =
      "the stored record does not follow the grammar of storage/base/event_record.h; "
      "it was passed over";
  return letter;
}

storage::DeadLetter copy_event(const storage::Store& store, const storage::StoredEvent& event,
                               const EventFields& fields, std::string_view lane_name) {
  storage::DeadLetter letter;
  letter.lane = lane_name;
  letter.position = event.position;
  letter.received_ms = event.received_ms;
  letter.payload = event.payload;
  letter.tenant = fields.tenant;
  letter.event_name = fields.name;
  letter.event_id = fields.id.empty()
                        ? fmt::format("{}-{}", store.id().text(), event.position.text())
                        : std::string(fields.id);
  return letter;
}

Result<std::vector<storage::DeadLetter>> copy_events(storage::Store& store,
                                                     const EventFilter& filter,
                                                     const storage::OpenRange& range,
                                                     std::string_view lane_name) {
  std::vector<storage::DeadLetter> letters;
  EventFields fields;
  uint64_t missing = 0;
  WEIR_RETURN_IF_ERROR(read_range(store, range, &missing, [&](const storage::StoredEvent& event) {
    if (judge(event, filter, &fields) == Fate::kSend)
      letters.push_back(copy_event(store, event, fields, lane_name));
  }));
  return letters;
}

}  // namespace weir::forwarder
