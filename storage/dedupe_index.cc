#include "storage/dedupe_index.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "storage/base/check.h"

namespace weir::storage {
namespace {

constexpr uint64_t kTicksPerWindow = 8192;
constexpr uint64_t kTicksPerCap = 64;
#ifdef WEIR_TINY_LIMITS
constexpr uint32_t kEntriesPerTable = 64;
#else
constexpr uint32_t kEntriesPerTable = 4096;  // at the cap, between this and twice as many
#endif
constexpr unsigned kMaxTableBits = 16;
constexpr unsigned kTablesPerSweep = 8;
// Per mille of slots in use: above kFull a table is rebuilt, with kRoomy afterwards.
constexpr uint64_t kFull = 900;
constexpr uint64_t kRoomy = 850;
constexpr size_t kPageBytes = 4096;
// An insertion into a table that is nearly full moves some 30 entries.
constexpr size_t kPrefetchLines = 4;

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
  reserve_stretches();
  // The whole past window, so that load() finds the tick of every entry.
  const int64_t ticks = options_.window_ms / tick_ms_ + 1;
  for (int64_t i = ticks - 1; i >= 0; --i) add_tick(now_ms - i * tick_ms_);
}

DedupeIndex::~DedupeIndex() {
  for (Table& table : tables_)
    if (table.slots != stretch(table)) std::free(table.slots);
  munmap(mapping_, stretch_bytes_ * tables_.size());
}

// A quarter more than a table has at the cap: with some 5,000 entries in each, one in a million
// tables is 7 % above the average. Pages nobody touched take no memory.
void DedupeIndex::reserve_stretches() {
  const size_t slots = capacity_at_cap() + capacity_at_cap() / 4 + kSlack;
  stretch_bytes_ = (slots * sizeof(Slot) + kPageBytes - 1) / kPageBytes * kPageBytes;
  void* const memory = mmap(nullptr, stretch_bytes_ * tables_.size(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  WEIR_CHECK(memory != MAP_FAILED, "no {} bytes of address space for the dedupe index: {}",
             stretch_bytes_ * tables_.size(), std::strerror(errno));
  mapping_ = static_cast<char*>(memory);
  for (Table& table : tables_) table.slots = stretch(table);
}

DedupeIndex::Slot* DedupeIndex::stretch(const Table& table) const {
  const auto number = static_cast<size_t>(&table - tables_.data());
  return reinterpret_cast<Slot*>(mapping_ + number * stretch_bytes_);
}

void DedupeIndex::prefetch(const Fingerprint& fingerprint) const {
  const Table& table = table_for(fingerprint);
  const char* const at =
      reinterpret_cast<const char*>(table.slots + Key(fingerprint).home(table.capacity));
  for (size_t line = 0; line < kPrefetchLines; ++line) __builtin_prefetch(at + line * 64, 1);
}

uint16_t DedupeIndex::tick_id(size_t index) const {
  return static_cast<uint16_t>((first_tick_ + index) % kTickIds + 1);
}

void DedupeIndex::add_tick(int64_t start_ms) {
  ticks_.push_back({start_ms, 0});
  ++live_ticks_;
}

void DedupeIndex::cut_tick(int64_t start_ms) {
  WEIR_CHECK(size_ == 0);
  const auto behind =
      std::upper_bound(ticks_.begin(), ticks_.end(), start_ms,
                       [](int64_t time, const Tick& tick) { return time < tick.start_ms; });
  if (behind == ticks_.begin() || ticks_.size() >= kTickIds / 4) return;
  ticks_.insert(behind, {start_ms, 0});
  ++live_ticks_;
}

// The tick that covers a time: the last one that starts at or before it. Ticks are nearly evenly
// spaced when this is asked, at start: where it should be is where it is, or next to it.
size_t DedupeIndex::tick_at(int64_t time_ms) const {
  const int64_t ahead = std::max<int64_t>(time_ms - ticks_.front().start_ms, 0) / tick_ms_;
  size_t at = std::min(static_cast<size_t>(ahead), ticks_.size() - 1);
  while (at > 0 && ticks_[at].start_ms > time_ms) --at;
  while (at + 1 < ticks_.size() && ticks_[at + 1].start_ms <= time_ms) ++at;
  return at;
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
  if (table.capacity != 0) {
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
    add_tick(ticks_.back().start_ms);
  insert(table, key, number, ticks_.size() - 1);
  return 0;
}

bool DedupeIndex::load(const Fingerprint& fingerprint, uint64_t number, int64_t time_ms) {
  if (size_ >= options_.max_entries) return false;
  if (time_ms < ticks_.front().start_ms) return false;
  Table& table = table_for(fingerprint);
  const Key key(fingerprint);
  if (table.capacity != 0) {
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
    const bool full = uint64_t{table.used} * 1000 >= table.capacity * kFull;  // or it is empty
    if (full) rebuild(table);
    bool found = false;
    const uint32_t at = find(table, key, &found);
    // Up to the first slot that is free, or whose entry is forgotten.
    uint32_t free = at;
    while (live(table.slots[free].tick)) ++free;
    const bool forgotten = table.slots[free].tick != 0;
    // The last slot stays free: every search ends there at the latest.
    if (!forgotten && free + 1 >= table.capacity + kSlack) {
      rebuild(table, table.capacity + table.capacity / 16 + 1);
      continue;
    }
    std::memmove(table.slots + at + 1, table.slots + at, (free - at) * sizeof(Slot));
    table.slots[at] = {key.order,
                       {key.key[0], key.key[1]},
                       static_cast<uint32_t>(number),
                       static_cast<uint16_t>(number >> 32),
                       tick_id(tick)};
    if (!forgotten) ++table.used;
    ++ticks_[tick].entries;
    ++size_;
    return;
  }
}

void DedupeIndex::erase(const Fingerprint& fingerprint) {
  Table& table = table_for(fingerprint);
  if (table.capacity == 0) return;
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

// Spreads the entries that are not forgotten over a capacity that leaves room for more.
void DedupeIndex::rebuild(Table& table, uint32_t at_least) {
  scratch_.clear();
  for (uint32_t i = 0; table.capacity != 0 && i < table.capacity + kSlack; ++i)
    if (live(table.slots[i].tick)) scratch_.push_back(table.slots[i]);
  const auto kept = static_cast<uint32_t>(scratch_.size());
  Table next;
  next.capacity = std::max(at_least, capacity_for(kept, table.capacity));
  for (;;) {
    next.slots = room_for(table, next.capacity);
    if (place(scratch_, next)) break;
    if (next.slots != stretch(table)) std::free(next.slots);
    next.capacity += next.capacity / 16 + 1;
  }
  slots_ += next.capacity + kSlack;
  if (table.capacity != 0) slots_ -= table.capacity + kSlack;
  give_back(table, next);
  table = next;
}

DedupeIndex::Slot* DedupeIndex::room_for(const Table& table, uint32_t capacity) const {
  const size_t bytes = (size_t{capacity} + kSlack) * sizeof(Slot);
  if (bytes <= stretch_bytes_) return stretch(table);
  void* const own = std::malloc(bytes);
  WEIR_CHECK(own != nullptr, "no memory for the dedupe index");
  return static_cast<Slot*>(own);
}

// What the table leaves: memory of its own, or pages of its stretch behind its new end.
void DedupeIndex::give_back(const Table& old, const Table& now) const {
  if (old.slots != stretch(old)) {
    if (old.slots != now.slots) std::free(old.slots);
    return;
  }
  const size_t used = now.slots == old.slots ? (size_t{now.capacity} + kSlack) * sizeof(Slot) : 0;
  const size_t kept = (used + kPageBytes - 1) / kPageBytes * kPageBytes;
  const size_t was = (size_t{old.capacity} + kSlack) * sizeof(Slot);
  if (was > kept + 2 * kPageBytes)
    madvise(reinterpret_cast<char*>(old.slots) + kept, stretch_bytes_ - kept, MADV_DONTNEED);
}

// False: the entries at the end do not fit into the slack.
bool DedupeIndex::place(std::span<const Slot> entries, Table& to) const {
  std::memset(to.slots, 0, (size_t{to.capacity} + kSlack) * sizeof(Slot));
  to.used = static_cast<uint32_t>(entries.size());
  uint32_t free = 0;
  for (const Slot& entry : entries) {
    const auto home = static_cast<uint32_t>((uint64_t{entry.order} * to.capacity) >> 32);
    free = std::max(free, home);
    if (free + 1 >= to.capacity + kSlack) return false;
    to.slots[free++] = entry;
  }
  return true;
}

// Small tables grow by half; near their share of the cap in small steps, because there the bound of
// 24 bytes per entry is tight.
uint32_t DedupeIndex::capacity_for(uint32_t live_entries, uint32_t before) const {
  const auto tight = static_cast<uint32_t>(uint64_t{live_entries + 1} * 1000 / kRoomy + 1);
  const uint32_t loose = std::max<uint32_t>(16, live_entries + live_entries / 2);
  const uint32_t wanted = std::max(tight, std::min(loose, capacity_at_cap()));
  // Mostly forgotten entries: the same size is enough.
  if (before > tight && before < wanted) return before;
  return wanted;
}

uint32_t DedupeIndex::capacity_at_cap() const {
  return static_cast<uint32_t>(uint64_t{share_} * 1000 / kRoomy + 1);
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
  first_tick_place_ = static_cast<uint32_t>(first_tick_ % kTickIds);
  --live_ticks_;
}

void DedupeIndex::advance(int64_t now_ms) {
  // A clock that jumped back starts no tick; one that jumped forward ages everything.
  if (now_ms - ticks_.back().start_ms >= tick_ms_) add_tick(now_ms);
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
    bool any = false;
    for (uint32_t at = 0; table.capacity != 0 && at < table.capacity + kSlack && !any; ++at)
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
