#include "storage/state_work.h"

#include <algorithm>

#include "storage/base/check.h"

namespace weir::storage {

std::shared_ptr<const LaneRecord> PublishedState::lane(std::string_view name) const {
  std::lock_guard lock(mutex);
  auto found = lanes.find(name);
  return found == lanes.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const LaneRecord>> PublishedState::all_lanes() const {
  std::lock_guard lock(mutex);
  std::vector<std::shared_ptr<const LaneRecord>> all;
  for (const auto& [name, record] : lanes) all.push_back(record);
  return all;
}

Result<StateWork> StateWork::begin(LmdbFile& file, PublishedState& published,
                                   const DeliveryCounts& deliveries) {
  WEIR_ASSIGN_OR_RETURN(auto txn, LmdbTxn::write(file));
  return StateWork(std::move(txn), published, deliveries);
}

LaneRecord* StateWork::lane(std::string_view name) {
  auto found = lanes_.find(name);
  if (found != lanes_.end()) return found->second.record.get();
  const auto record = published_->lane(name);
  if (record == nullptr) return nullptr;
  Working& working = lanes_[std::string(name)];
  working.record = std::make_unique<LaneRecord>(*record);
  return working.record.get();
}

std::vector<std::string> StateWork::lane_names() const {
  std::set<std::string> names;
  for (const auto& record : published_->all_lanes()) names.insert(record->state.name);
  for (const auto& [name, working] : lanes_) {
    if (working.record != nullptr)
      names.insert(name);
    else
      names.erase(name);
  }
  return {names.begin(), names.end()};
}

Status StateWork::add_lane(LaneRecord record) {
  if (lane(record.state.name) != nullptr)
    return fail(ErrorCode::kAlreadyExists, "there is a lane {} already", record.state.name);
  Working& working = lanes_[record.state.name];
  working.added = true;
  working.record = std::make_unique<LaneRecord>(std::move(record));
  return {};
}

Status StateWork::remove_lane(std::string_view name) {
  LaneRecord* record = lane(name);
  if (record == nullptr) return fail(ErrorCode::kNotFound, "there is no lane {}", name);
  const uint32_t id = record->id;
  WEIR_RETURN_IF_ERROR(txn_.erase(state_key::lane(id)));
  for (char letter : {'O', 'T', 'X', 'D'}) {
    std::string prefix = state_key::lane(id);
    prefix[0] = letter;
    WEIR_RETURN_IF_ERROR(erase_prefix(prefix));
  }
  std::erase_if(deliveries_, [&](const auto& count) { return count.first.first == id; });
  Working& working = lanes_.find(name)->second;
  working.record = nullptr;
  working.delta = {};
  working.removed = true;
  return {};
}

Status StateWork::erase_prefix(const std::string& prefix) {
  std::vector<std::string> keys;
  WEIR_RETURN_IF_ERROR(txn_.scan(prefix, [&](std::string_view key, std::string_view) {
    if (!key.starts_with(prefix)) return false;
    keys.emplace_back(key);
    return true;
  }));
  for (const std::string& key : keys) WEIR_RETURN_IF_ERROR(txn_.erase(key));
  return {};
}

std::vector<ShardPast>& StateWork::past() {
  if (!past_) {
    std::lock_guard lock(published_->mutex);
    past_ = published_->past;
  }
  return *past_;
}

void StateWork::touch_past_tenant(unsigned shard, std::string_view tenant) {
  past_tenants_.emplace(shard, tenant);
}

Status StateWork::put(const std::string& key, std::string payload) {
  return txn_.put(key, seal_value(key, std::move(payload)));
}

Status StateWork::put_number(const std::string& key, uint64_t number) {
  return put(key, encode_number(number));
}

Status StateWork::erase_oldest_rows(uint32_t lane, uint16_t shard, uint64_t last, size_t limit) {
  uint64_t& count = deliveries_[{lane, shard}];
  std::vector<std::string> keys;
  const std::string from = state_key::delivery(lane, shard, 0, 0);
  const std::string prefix = from.substr(0, 7);
  WEIR_RETURN_IF_ERROR(txn_.scan(from, [&](std::string_view key, std::string_view value) {
    if (!key.starts_with(prefix) || keys.size() >= limit) return false;
    const auto row = decode_delivery(key, value);
    if (row && row->first > last) return false;
    if (!row || row->last <= last) keys.emplace_back(key);
    return true;
  }));
  for (const std::string& key : keys) WEIR_RETURN_IF_ERROR(txn_.erase(key));
  count -= std::min<uint64_t>(count, keys.size());
  return {};
}

Status StateWork::add_delivery(const LaneRecord& lane, const DeliveryRow& row, uint64_t max_rows) {
  uint64_t& count = deliveries_[{lane.id, row.shard}];
  if (count >= max_rows)
    WEIR_RETURN_IF_ERROR(erase_oldest_rows(lane.id, row.shard, UINT64_MAX, count - max_rows + 16));
  const std::string key = state_key::delivery(lane.id, row.shard, row.first, row.batch_number);
  WEIR_ASSIGN_OR_RETURN(const std::string_view existing, txn_.get(key));
  if (existing.data() == nullptr) ++count;
  return put(key, encode_delivery(row));
}

Status StateWork::prune_deliveries(unsigned shard, uint64_t last, size_t limit) {
  for (const auto& [key, count] : DeliveryCounts(deliveries_)) {
    if (key.second != shard || count == 0) continue;
    WEIR_RETURN_IF_ERROR(erase_oldest_rows(key.first, key.second, last, limit));
  }
  return {};
}

Status StateWork::shed_deliveries(unsigned percent) {
  for (const auto& [key, count] : DeliveryCounts(deliveries_))
    WEIR_RETURN_IF_ERROR(
        erase_oldest_rows(key.first, key.second, UINT64_MAX, count * percent / 100 + 1));
  return {};
}

Status StateWork::write_lane_changes(const LaneRecord& lane, const LaneDelta& delta) {
  WEIR_RETURN_IF_ERROR(put(state_key::lane(lane.id), encode_lane(lane.state)));
  for (uint64_t batch : delta.ranges) {
    const std::string key = state_key::open_range(lane.id, batch);
    const OpenRange* range = find_range(lane.state, batch);
    WEIR_RETURN_IF_ERROR(range == nullptr ? txn_.erase(key) : put(key, encode_open_range(*range)));
  }
  for (const std::string& tenant : delta.tenants) {
    auto found = lane.state.tenants.find(tenant);
    if (found != lane.state.tenants.end())
      WEIR_RETURN_IF_ERROR(
          put(state_key::lane_tenant(lane.id, tenant), encode_lane_tenant(tenant, found->second)));
  }
  for (const ExpiredKey& at : delta.expired) {
    const std::string key = state_key::expired(lane.id, at.first, at.second);
    auto found = lane.expired.find(at);
    WEIR_RETURN_IF_ERROR(found == lane.expired.end() ? txn_.erase(key)
                                                     : put(key, encode_expired(found->second)));
  }
  return {};
}

Status StateWork::write_changes() {
  for (const auto& [name, working] : lanes_) {
    if (working.record == nullptr) continue;
    Status written;
    if (working.added) {
      write_lane(*working.record, [&](const std::string& key, std::string payload) {
        if (written) written = put(key, std::move(payload));
      });
    }
    if (written) written = write_lane_changes(*working.record, working.delta);
    WEIR_RETURN_IF_ERROR(std::move(written));
  }
  if (past_) {
    for (unsigned shard = 0; shard < past_->size(); ++shard)
      WEIR_RETURN_IF_ERROR(put(state_key::past(shard), encode_past((*past_)[shard])));
    for (const auto& [shard, tenant] : past_tenants_)
      WEIR_RETURN_IF_ERROR(
          put(state_key::past_tenant(shard, tenant), encode_past_tenant((*past_)[shard], tenant)));
  }
  return {};
}

Status StateWork::commit(DeliveryCounts* deliveries) {
  WEIR_RETURN_IF_ERROR(write_changes());
  WEIR_RETURN_IF_ERROR(txn_.commit());
  *deliveries = std::move(deliveries_);
  std::lock_guard lock(published_->mutex);
  for (auto& [name, working] : lanes_) {
    if (working.record != nullptr)
      published_->lanes[name] = std::shared_ptr<const LaneRecord>(std::move(working.record));
    else if (working.removed)
      published_->lanes.erase(name);
  }
  if (past_) published_->past = std::move(*past_);
  return {};
}

}  // namespace weir::storage
