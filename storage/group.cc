#include "storage/group.h"

#include "storage/base/hash.h"

namespace weir::storage {

void TenantTally::clear() {
  rows_.clear();
  places_.assign(places_.empty() ? 64 : places_.size(), 0);
  recent_ = 0;
}

void TenantTally::add(std::string_view tenant) {
  if (recent_ >= rows_.size() || rows_[recent_].tenant != tenant) recent_ = find_row(tenant);
  ++rows_[recent_].events;
}

size_t TenantTally::find_row(std::string_view tenant) {
  if (rows_.size() * 2 >= places_.size()) grow();
  size_t at = hash64(tenant) & (places_.size() - 1);
  while (places_[at] != 0) {
    const size_t row = places_[at] - 1;
    if (rows_[row].tenant == tenant) return row;
    at = (at + 1) & (places_.size() - 1);
  }
  rows_.push_back({tenant, 0});
  places_[at] = static_cast<uint32_t>(rows_.size());
  return rows_.size() - 1;
}

void TenantTally::grow() {
  places_.assign(places_.empty() ? 64 : places_.size() * 2, 0);
  for (size_t row = 0; row < rows_.size(); ++row) {
    size_t at = hash64(rows_[row].tenant) & (places_.size() - 1);
    while (places_[at] != 0) at = (at + 1) & (places_.size() - 1);
    places_[at] = static_cast<uint32_t>(row + 1);
  }
}

}  // namespace weir::storage
