#include "storage/dedupe_index.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr uint64_t kTicksPerWindow = 8192;
constexpr uint64_t kTicksPerCap = 64;
constexpr uint64_t kTickIds = 65535;  // 16 bits without 0
#ifdef WEIR_TINY_LIMITS
constexpr uint32_t kEntriesPerTable = 64;
#else
constexpr uint32_t kEntriesPerTable = 4096;  // at the cap, between this and twice as many
#endif
constexpr unsigned kMaxTableBits = 16;
constexpr unsigned kTablesPerSweep = 8;
constexpr uint32_t kSizeStep = 128;
// Per mille of slots in use: above kFull a table is rebuilt, with kRoomy afterwards.
constexpr uint64_t kFull = 900;
constexpr uint64_t kRoomy = 850;

}  // namespace

// The parts of a fingerprint an entry keeps.
struct DedupeIndex::Key {
  explicit Key(const Fingerprint& fingerprint)
      : order(static_cast<uint32_t>(fingerprint.low >> 32)),
        key{static_cast<uint32_t>(fingerprint.low), static_cast<uint32_t>(fingerprint.high)} {}
  uint32_t home(uint32_t capacity) const {
    return static_cast<uint32_t>((uint64_t{order} * capacity) >> 32);
  }
  bool same(const Slot& slot) const { return slot.key[0] == key[0] && slot.key[1] == key[1]; }

  uint32_t order;
  uint32_t key[2];
};

DedupeIndex::DedupeIndex(const Options& options, int64_t now_ms) : options_(options) {
  options_.max_entries = std::max<uint64_t>(options_.max_entries, 1);
  options_.window_ms = std::max<int64_t>(options_.window_ms, 1);
  tick_ms_ = std::max<int64_t>(options_.window_ms / static_cast<int64_t>(kTicksPerWindow), 1);
  const uint64_t tables = options_.max_entries / kEntriesPerTable;
  table_bits_ = tables <= 1 ? 1 : static_cast<unsigned>(std::bit_width(tables)) - 1;
  table_bits_ = std::clamp(table_bits_, 1U, kMaxTableBits);
  tables_.resize(size_t{1} << table_bits_);
  share_ = static_cast<uint32_t>(options_.max_entries >> table_bits_) + 1;
  // The whole past window, so that load() finds the tick of every entry.
  const int64_t ticks = options_.window_ms / tick_ms_ + 1;
  for (int64_t i = ticks - 1; i >= 0; --i) ticks_.push_back({now_ms - i * tick_ms_, 0});
}

DedupeIndex::~DedupeIndex() {
  for (Table& table : tables_) std::free(table.slots);
}

const DedupeIndex::Table& DedupeIndex::table_for(const Fingerprint& fingerprint) const {
  return tables_[fingerprint.high >> (64 - table_bits_)];
}
DedupeIndex::Table& DedupeIndex::table_for(const Fingerprint& fingerprint) {
  return tables_[fingerprint.high >> (64 - table_bits_)];
}

void DedupeIndex::prefetch(const Fingerprint& fingerprint) const {
  const Table& table = table_for(fingerprint);
  if (table.slots == nullptr) return;
  const Slot* slot = table.slots + Key(fingerprint).home(table.capacity);
  __builtin_prefetch(slot, 1);
  __builtin_prefetch(reinterpret_cast<const char*>(slot) + 64, 1);
}

uint16_t DedupeIndex::tick_id(size_t index) const {
  return static_cast<uint16_t>((first_tick_ + index) % kTickIds + 1);
}

size_t DedupeIndex::tick_index(uint16_t tick) const {
  return static_cast<size_t>((uint64_t{tick} - 1 + kTickIds - first_tick_ % kTickIds) % kTickIds);
}

bool DedupeIndex::live(uint16_t tick) const { return tick_index(tick) < ticks_.size(); }

// The tick that covers a time: the last one that starts at or before it.
size_t DedupeIndex::tick_at(int64_t time_ms) const {
  const auto after =
      std::upper_bound(ticks_.begin(), ticks_.end(), time_ms,
                       [](int64_t time, const Tick& tick) { return time < tick.start_ms; });
  return after == ticks_.begin() ? 0 : static_cast<size_t>(after - ticks_.begin()) - 1;
}

// Where the entry is, or where it belongs.
uint32_t DedupeIndex::find(const Table& table, const Key& key, bool* found) const {
  uint32_t at = key.home(table.capacity);
  while (table.slots[at].tick != 0 && table.slots[at].order < key.order) ++at;
  for (uint32_t i = at; table.slots[i].tick != 0 && table.slots[i].order == key.order; ++i) {
    if (key.same(table.slots[i])) {
      *found = true;
      return i;
    }
  }
  *found = false;
  return at;
}

uint64_t DedupeIndex::find_or_insert(const Fingerprint& fingerprint, uint64_t number) {
  Table& table = table_for(fingerprint);
  const Key key(fingerprint);
  if (table.slots != nullptr) {
    bool found = false;
    const uint32_t at = find(table, key, &found);
    if (found) {
      const Slot& slot = table.slots[at];
      const uint64_t original = uint64_t{slot.number_high} << 32 | slot.number_low;
      if (live(slot.tick)) {
        if (!lost(original)) return original;
        --ticks_[tick_index(slot.tick)].entries;
        --size_;
      }
      erase_slot(table, at);
    }
  }
  if (ticks_.back().entries >= options_.max_entries / kTicksPerCap + 1 &&
      ticks_.size() < kTickIds / 4)
    ticks_.push_back({ticks_.back().start_ms, 0});
  insert(table, key, number, ticks_.size() - 1);
  return 0;
}

bool DedupeIndex::load(const Fingerprint& fingerprint, uint64_t number, int64_t time_ms) {
  if (size_ >= options_.max_entries) return false;
  if (time_ms < ticks_.front().start_ms) return false;
  Table& table = table_for(fingerprint);
  const Key key(fingerprint);
  if (table.slots != nullptr) {
    bool found = false;
    find(table, key, &found);
    if (found) return true;  // a newer file had it
  }
  insert(table, key, number, tick_at(time_ms));
  return true;
}

void DedupeIndex::insert(Table& table, const Key& key, uint64_t number, size_t tick) {
  WEIR_CHECK(number >> 48 == 0);
  for (;;) {
    const bool full =
        table.slots == nullptr || uint64_t{table.used} * 1000 >= table.capacity * kFull;
    if (full) rebuild(table);
    bool found = false;
    const uint32_t at = find(table, key, &found);
    uint32_t free = at;
    while (table.slots[free].tick != 0) ++free;
    // The last slot stays free: every search ends there at the latest.
    if (free + 1 >= table.capacity + kSlack) {
      rebuild(table, table.capacity + table.capacity / 16 + 1);
      continue;
    }
    std::memmove(table.slots + at + 1, table.slots + at, (free - at) * sizeof(Slot));
    table.slots[at] = {key.order,
                       {key.key[0], key.key[1]},
                       static_cast<uint32_t>(number),
                       static_cast<uint16_t>(number >> 32),
                       tick_id(tick)};
    ++table.used;
    ++ticks_[tick].entries;
    ++size_;
    return;
  }
}

void DedupeIndex::erase(const Fingerprint& fingerprint) {
  Table& table = table_for(fingerprint);
  if (table.slots == nullptr) return;
  bool found = false;
  const uint32_t at = find(table, Key(fingerprint), &found);
  if (!found) return;
  const uint16_t tick = table.slots[at].tick;
  if (live(tick)) {
    --ticks_[tick_index(tick)].entries;
    --size_;
  }
  erase_slot(table, at);
}

// Closes the gap: entries behind it move back by one until one is at its home or a slot is free.
void DedupeIndex::erase_slot(Table& table, uint32_t at) {
  for (;;) {
    const uint32_t behind = at + 1;
    const Slot& slot = table.slots[behind];
    const auto home = static_cast<uint32_t>((uint64_t{slot.order} * table.capacity) >> 32);
    if (slot.tick == 0 || home == behind) break;
    table.slots[at] = slot;
    at = behind;
  }
  table.slots[at].tick = 0;
  --table.used;
}

// A new, emptier copy without the forgotten entries.
void DedupeIndex::rebuild(Table& table, uint32_t at_least) {
  uint32_t kept = 0;
  for (uint32_t i = 0; table.slots != nullptr && i < table.capacity + kSlack; ++i)
    if (table.slots[i].tick != 0 && live(table.slots[i].tick)) ++kept;
  Table next;
  next.capacity = std::max(at_least, capacity_for(kept, table.capacity));
  for (;;) {
    next.slots = static_cast<Slot*>(std::calloc(next.capacity + kSlack, sizeof(Slot)));
    WEIR_CHECK(next.slots != nullptr, "no memory for the dedupe index");
    if (copy_live(table, next)) break;
    std::free(next.slots);
    next.capacity += next.capacity / 16 + 1;
  }
  slots_ += next.capacity + kSlack;
  if (table.slots != nullptr) slots_ -= table.capacity + kSlack;
  std::free(table.slots);
  table = next;
}

// False: the entries at the end do not fit into the slack.
bool DedupeIndex::copy_live(const Table& from, Table& to) const {
  to.used = 0;
  if (from.slots == nullptr) return true;
  uint32_t free = 0;
  for (uint32_t i = 0; i < from.capacity + kSlack; ++i) {
    const Slot& slot = from.slots[i];
    if (slot.tick == 0 || !live(slot.tick)) continue;
    const auto home = static_cast<uint32_t>((uint64_t{slot.order} * to.capacity) >> 32);
    free = std::max(free, home);
    if (free + 1 >= to.capacity + kSlack) return false;
    to.slots[free++] = slot;
    ++to.used;
  }
  return true;
}

// Small tables grow by half; near their share of the cap in small steps, because there the bound of
// 24 bytes per entry is tight.
uint32_t DedupeIndex::capacity_for(uint32_t live_entries, uint32_t before) const {
  const auto tight = static_cast<uint32_t>(uint64_t{live_entries + 1} * 1000 / kRoomy + 1);
  const auto at_cap = static_cast<uint32_t>(uint64_t{share_} * 1000 / kRoomy + 1);
  const uint32_t loose = std::max<uint32_t>(16, live_entries + live_entries / 2);
  const uint32_t wanted = std::max(tight, std::min(loose, at_cap));
  // Mostly forgotten entries: the same size is enough.
  if (before > tight && before < wanted) return before;
  // Few different sizes: what one table gives back, the next one takes.
  return wanted < kSizeStep * 8 ? wanted : (wanted + kSizeStep - 1) / kSizeStep * kSizeStep;
}

bool DedupeIndex::lost(uint64_t number) const {
  for (const auto& [first, last] : lost_)
    if (number >= first && number <= last) return true;
  return false;
}

void DedupeIndex::evict_oldest(uint64_t* evicted) {
  *evicted += ticks_.front().entries;
  size_ -= ticks_.front().entries;
  ticks_.pop_front();
  ++first_tick_;
}

void DedupeIndex::advance(int64_t now_ms) {
  // A clock that jumped back starts no tick; one that jumped forward ages everything.
  if (now_ms - ticks_.back().start_ms >= tick_ms_) ticks_.push_back({now_ms, 0});
  while (ticks_.size() > 1 && ticks_.front().start_ms + tick_ms_ <= now_ms - options_.window_ms)
    evict_oldest(&evicted_by_window_);
  while (size_ >= options_.max_entries && ticks_.size() > 1) evict_oldest(&evicted_by_cap_);
  // Ids of forgotten entries must not come round while entries that carry them are in a table.
  WEIR_CHECK(ticks_.size() < kTickIds / 2);
  sweep();
}

// All tables once per kTicksPerWindow ticks, a few at a time.
void DedupeIndex::sweep() {
  const uint64_t ticks = first_tick_ + ticks_.size();
  const auto due = static_cast<uint64_t>(static_cast<double>(ticks) / kTicksPerWindow *
                                         static_cast<double>(tables_.size()));
  for (unsigned i = 0; i < kTablesPerSweep && swept_ < due; ++i, ++swept_) {
    Table& table = tables_[swept_ % tables_.size()];
    if (table.slots == nullptr) continue;
    bool any = false;
    for (uint32_t at = 0; at < table.capacity + kSlack && !any; ++at)
      any = table.slots[at].tick != 0 && !live(table.slots[at].tick);
    if (any) rebuild(table);
  }
}

uint64_t DedupeIndex::bytes() const {
  return slots_ * sizeof(Slot) + tables_.size() * sizeof(Table);
}

int64_t DedupeIndex::effective_window_ms(int64_t now_ms) const {
  if (size_ == 0) return 0;
  for (const Tick& tick : ticks_)
    if (tick.entries > 0) return std::max<int64_t>(now_ms - tick.start_ms, 0);
  return 0;
}

}  // namespace weir::storage
