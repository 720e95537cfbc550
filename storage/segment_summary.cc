#include "storage/segment_summary.h"

#include <algorithm>

namespace weir::storage {

void SegmentSummary::add(const CommitBlock& block) {
  oldest_ms = events == 0 ? block.oldest_ms : std::min(oldest_ms, block.oldest_ms);
  newest_ms = events == 0 ? block.newest_ms : std::max(newest_ms, block.newest_ms);
  last = block.last();
  events += block.count;
  payload_bytes += block.payload_bytes;
  committed_ms = block.committed_ms;
  block.for_each_tenant([&](const TenantEvents& tenant) {
    auto found = tenants.find(tenant.tenant);
    if (found == tenants.end()) found = tenants.emplace(std::string(tenant.tenant), 0).first;
    found->second += tenant.events;
  });
}

void append_summary(std::string& out, const SegmentSummary& summary) {
  append_le(out, static_cast<uint32_t>(summary.shard));
  append_le(out, static_cast<uint32_t>(summary.has_identity));
  append_le(out, summary.first);
  append_le(out, summary.last);
  append_le(out, summary.events);
  append_le(out, summary.payload_bytes);
  append_le(out, summary.fingerprints);
  append_le(out, summary.created_ms);
  append_le(out, summary.committed_ms);
  append_le(out, summary.oldest_ms);
  append_le(out, summary.newest_ms);
  out.append(reinterpret_cast<const char*>(summary.store_id.bytes.data()), 16);
  out.append(reinterpret_cast<const char*>(summary.secret.bytes), DedupeSecret::kSize);
  append_varint(out, summary.tenants.size());
  for (const auto& [tenant, events] : summary.tenants) {
    append_varint(out, events);
    append_sized_bytes(out, tenant);
  }
}

bool read_summary(ByteReader& reader, SegmentSummary* summary) {
  *summary = SegmentSummary{};
  summary->shard = reader.le<uint32_t>();
  summary->has_identity = reader.le<uint32_t>() != 0;
  summary->first = reader.le<uint64_t>();
  summary->last = reader.le<uint64_t>();
  summary->events = reader.le<uint64_t>();
  summary->payload_bytes = reader.le<uint64_t>();
  summary->fingerprints = reader.le<uint64_t>();
  summary->created_ms = reader.le<int64_t>();
  summary->committed_ms = reader.le<int64_t>();
  summary->oldest_ms = reader.le<int64_t>();
  summary->newest_ms = reader.le<int64_t>();
  const std::string_view id = reader.bytes(16);
  const std::string_view secret = reader.bytes(DedupeSecret::kSize);
  const uint64_t tenants = reader.varint();
  for (uint64_t i = 0; i < tenants && reader.ok(); ++i) {
    const uint64_t events = reader.varint();
    summary->tenants.emplace(std::string(reader.sized_bytes()), events);
  }
  if (!reader.ok()) return false;
  std::copy(id.begin(), id.end(), summary->store_id.bytes.begin());
  std::copy(secret.begin(), secret.end(), summary->secret.bytes);
  return summary->shard < 8 && summary->first >= 1 && summary->last <= kMaxNumber &&
         summary->last + 1 >= summary->first;
}

}  // namespace weir::storage
