#include "storage/log_reader.h"

#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/event_record.h"
#include "storage/base/log.h"
#include "storage/event_cursor.h"
#include "storage/file_names.h"
#include "storage/sidecar.h"

namespace weir::storage {

struct LogReader::Progress {
  ReadResult result;
  uint64_t end = 0;  // of what is committed
  bool stopped = false;
};

LogReader::LogReader(std::vector<SegmentSet*> shards, MetricRegistry& metrics)
    : shards_(std::move(shards)), damaged_records_(metrics.counter(Metric::kDamagedRecords)) {}

Result<ReadResult> LogReader::read(unsigned shard, uint64_t from, const ReadLimits& limits,
                                   FunctionRef<bool(const StoredEvent&)> visit) const {
  WEIR_CHECK(shard < shards_.size());
  SegmentSet& set = *shards_[shard];
  Progress progress;
  progress.end = set.committed_end();
  progress.result.next = std::max<uint64_t>(from, 1);
  while (!progress.stopped && progress.result.next < progress.end &&
         progress.result.next <= limits.last) {
    auto segment = set.open_at(progress.result.next);
    if (!segment && segment.error().code == ErrorCode::kNotFound) {
      // A gap up to the end: what was there is gone.
      const uint64_t to = limits.last < progress.end ? limits.last + 1 : progress.end;
      progress.result.missing += to - progress.result.next;
      progress.result.next = to;
      break;
    }
    if (!segment) return tl::unexpected(std::move(segment).error());
    if (!read_segment(*segment, shard, limits, visit, &progress))
      return fail(ErrorCode::kCorrupt, "{} cannot be read", set.path_of(segment->first));
  }
  progress.result.at_end = progress.result.next >= progress.end;
  return progress.result;
}

// One short transaction over one segment. False: LMDB could not walk it.
bool LogReader::read_segment(const SegmentSet::Opened& segment, unsigned shard,
                             const ReadLimits& limits, FunctionRef<bool(const StoredEvent&)> visit,
                             Progress* progress) const {
  ReadResult& result = progress->result;
  auto reader = SegmentReader::begin(segment.env);
  if (!reader) return false;
  const uint64_t end =
      std::min(progress->end, limits.last == UINT64_MAX ? UINT64_MAX : limits.last + 1);
  // Everything up to the segment's end that was not seen is missing; the active one ends at `end`.
  const uint64_t segment_end = segment.sealed ? std::min(segment.last + 1, end) : end;
  EventCursor cursor(*reader, shard);
  for (bool more = cursor.seek(result.next); more; more = cursor.next()) {
    const uint64_t number = cursor.number();
    if (number >= segment_end) break;
    result.missing += number - result.next;
    result.next = number;
    if (cursor.lost() > 0) {
      const uint64_t lost = std::min(cursor.lost(), segment_end - number);
      damaged_records_.add(lost);
      log::error(
          "event_damaged",
          {{"shard", shard}, {"number", number}, {"events", lost}, {"problem", cursor.problem()}});
      result.missing += lost;
      result.next += lost;
      continue;
    }
    const EventRecord& record = cursor.event();
    const bool fits = result.events < limits.max_events &&
                      result.bytes + record.payload.size() <= limits.max_bytes;
    if (!fits && result.events > 0) {
      progress->stopped = true;
      return true;
    }
    ++result.next;
    ++result.events;
    result.bytes += record.payload.size();
    const StoredEvent event{{static_cast<uint16_t>(shard), number},
                            record.received_ms,
                            record.fingerprint,
                            record.payload};
    if (!visit(event)) {
      progress->stopped = true;
      return true;
    }
  }
  if (reader->code() != 0) return false;
  if (result.next < segment_end) {
    result.missing += segment_end - result.next;
    result.next = segment_end;
  }
  return true;
}

Status LogReader::count(unsigned shard, uint64_t first_number, uint64_t last_number,
                        TenantCounts* into) const {
  for (const SegmentSet::Row& row : shards_[shard]->rows()) {
    if (row.summary.empty() || row.summary.last < first_number || row.summary.first > last_number)
      continue;
    if (row.summary.first >= first_number && row.summary.last <= last_number) {
      into->events += row.summary.events;
      for (const auto& [tenant, events] : row.summary.tenants) into->tenants[tenant] += events;
      continue;
    }
    WEIR_RETURN_IF_ERROR(count_segment(row.summary, first_number, last_number, into));
  }
  return {};
}

// Whole groups by their commit blocks; of a group that is cut by the range the events themselves.
Status LogReader::count_segment(const SegmentSummary& summary, uint64_t first_number,
                                uint64_t last_number, TenantCounts* into) const {
  const uint64_t first = std::max(first_number, summary.first);
  const uint64_t last = std::min(last_number, summary.last);
  auto opened = shards_[summary.shard]->open_at(first);
  if (!opened && opened.error().code == ErrorCode::kNotFound) return {};
  if (!opened) return tl::unexpected(std::move(opened).error());
  if (opened->first != summary.first) return {};  // set aside meanwhile
  std::vector<std::pair<uint64_t, uint64_t>> cut;
  WEIR_RETURN_IF_ERROR(
      for_each_commit(opened->env, summary.shard, first, last, [&](const CommitBlock& block) {
        if (block.first > last) return true;
        if (block.first < first || block.last() > last) {
          cut.emplace_back(std::max(block.first, first), std::min(block.last(), last));
          return true;
        }
        into->events += block.count;
        block.for_each_tenant([&](const TenantEvents& tenant) {
          auto found = into->tenants.find(tenant.tenant);
          if (found == into->tenants.end())
            found = into->tenants.emplace(std::string(tenant.tenant), 0).first;
          found->second += tenant.events;
        });
        return true;
      }));
  for (const auto& [from, to] : cut) {
    ReadLimits limits{to, UINT64_MAX, UINT64_MAX};
    auto counted = read(summary.shard, from, limits, [&](const StoredEvent& event) {
      EventFields fields;
      ++into->events;
      const bool sound = decode_event_record(event.payload, &fields);
      ++into->tenants[std::string(sound ? fields.tenant : std::string_view())];
      return true;
    });
    if (!counted) return tl::unexpected(std::move(counted).error());
  }
  return {};
}

int64_t LogReader::received_ms(unsigned shard, uint64_t number) const {
  int64_t received = 0;
  ReadLimits limits;
  limits.max_events = 1;
  auto found = read(shard, number, limits, [&](const StoredEvent& event) {
    received = event.received_ms;
    return false;
  });
  return found ? received : 0;
}

Result<EventPlace> LogReader::place(unsigned shard, uint64_t number) const {
  const auto gone = [&] {
    return fail(ErrorCode::kNotFound, "event {}-{} is not on disk", shard, number);
  };
  if (shard >= shards_.size() || number >= shards_[shard]->committed_end()) return gone();
  SegmentSet& set = *shards_[shard];
  auto opened = set.open_at(number);
  if (!opened || opened->first > number) return gone();
  EventPlace place;
  place.file = segment_name(shard, opened->first);
  place.first = opened->first;
  place.sealed = opened->sealed;
  place.last = opened->sealed ? opened->last : set.committed_end() - 1;
  WEIR_RETURN_IF_ERROR(
      for_each_commit(opened->env, shard, number, number, [&](const CommitBlock& block) {
        if (block.first <= number && number <= block.last())
          place.committed_ms = block.committed_ms;
        return place.committed_ms == 0;
      }));
  return place;
}

Result<std::optional<uint64_t>> LogReader::find(unsigned shard,
                                                const Fingerprint& fingerprint) const {
  SegmentSet& set = *shards_[shard];
  const std::vector<SegmentSet::Row> rows = set.rows();
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (row->summary.empty()) continue;
    if (row->has_sidecar) {
      auto found = find_in_sidecar(set.directory() + "/" + sidecar_name(shard, row->summary.first),
                                   fingerprint);
      if (found && found->has_value()) return *found;
      if (found) continue;
    }
    auto opened = set.open_at(row->summary.first);
    if (!opened || opened->first != row->summary.first) continue;
    std::optional<uint64_t> number;
    WEIR_RETURN_IF_ERROR(for_each_commit(opened->env, shard, row->summary.first, row->summary.last,
                                         [&](const CommitBlock& block) {
                                           for (uint32_t i = 0; i < block.count; ++i)
                                             if (block.fingerprint(i) == fingerprint)
                                               number = block.first + i;
                                           return !number.has_value();
                                         }));
    if (number) return number;
  }
  return std::optional<uint64_t>();
}

}  // namespace weir::storage
