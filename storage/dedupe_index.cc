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
constexpr size_t kMaxTicks = 16384;
#ifdef WEIR_TINY_LIMITS
constexpr uint32_t kEntriesPerTable = 64;
#else
constexpr uint32_t kEntriesPerTable = 4096;  // at the cap, between this and twice as many
#endif
constexpr unsigned kMaxTableBits = 16;
constexpr unsigned kTablesPerSweep = 8;
// Per mille of slots in use: above kFull a table is rebuilt, with kRoomy afterwards.
constexpr uint64_t kFull = 800;
constexpr uint64_t kRoomy = 720;
constexpr size_t kHugePageBytes = size_t{2} << 20;
// A search in a table that is nearly full looks at some ten entries, four to a line.
constexpr size_t kPrefetchLines = 3;

}  // namespace

// The parts of a fingerprint an entry keeps.
struct DedupeIndex::Key {
  explicit Key(const Fingerprint& fingerprint)
      : order(fingerprint.low), rest(fingerprint.high << 48) {}
  static uint32_t home(uint64_t order, uint32_t capacity) {
    return static_cast<uint32_t>(((order >> 32) * capacity) >> 32);
  }
  bool same(const Slot& slot) const {
    return slot.order == order && (slot.key_and_number & ~kNumberMask) == rest;
  }

  uint64_t order;
  uint64_t rest;  // in the upper 16 bits
};

DedupeIndex::DedupeIndex(const Options& options, int64_t now_ms) : options_(options) {
  options_.max_entries = std::max<uint64_t>(options_.max_entries, 1);
  options_.window_ms = std::max<int64_t>(options_.window_ms, 1);
  tick_ms_ = std::max<int64_t>(options_.window_ms / static_cast<int64_t>(kTicksPerWindow), 1);
  oldest_ms_ = now_ms - options_.window_ms;
  const uint64_t tables = options_.max_entries / kEntriesPerTable;
  table_bits_ = tables <= 1 ? 1 : static_cast<unsigned>(std::bit_width(tables)) - 1;
  table_bits_ = std::clamp(table_bits_, 1U, kMaxTableBits);
  tables_.resize(size_t{1} << table_bits_);
  share_ = static_cast<uint32_t>(options_.max_entries >> table_bits_) + 1;
  reserve_pages();
  add_tick(now_ms, 1);
}

DedupeIndex::~DedupeIndex() {
  for (Table& table : tables_)
    if (table.pages != shared_pages(table)) std::free(table.pages);
  munmap(reserved_, reserved_bytes_);
}

// An eighth more than a table has at the cap: with some 5,000 entries in each, one in a million
// tables is 7 % above the average. Pages nobody touched take no memory. The first page of every
// table stays small: few events would touch all of them.
void DedupeIndex::reserve_pages() {
  const size_t slots = capacity_at_cap() + capacity_at_cap() / 8 + kSlack;
  most_pages_ = (slots + kPageSlots - 1) / kPageSlots;
  const size_t row = tables_.size() * kPageBytes;
  const size_t bytes = most_pages_ * row;
  reserved_bytes_ = bytes + kHugePageBytes;
  reserved_ = mmap(nullptr, reserved_bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  WEIR_CHECK(reserved_ != MAP_FAILED, "no {} bytes of address space for the dedupe index: {}",
             reserved_bytes_, std::strerror(errno));
  const auto address = reinterpret_cast<uintptr_t>(reserved_);
  const uintptr_t aligned = (address + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  mapping_ = static_cast<char*>(reserved_) + (aligned - address);
  // Without huge pages it is slower, nothing else.
  if (bytes >= 4 * kHugePageBytes) madvise(mapping_ + row, bytes - row, MADV_HUGEPAGE);
  for (Table& table : tables_) {
    table.pages = shared_pages(table);
    table.stride = row;
  }
}

char* DedupeIndex::shared_pages(const Table& table) const {
  return mapping_ + static_cast<size_t>(&table - tables_.data()) * kPageBytes;
}

void DedupeIndex::prefetch(const Fingerprint& fingerprint) const {
  const Table& table = table_for(fingerprint);
  const auto* at =
      reinterpret_cast<const char*>(table.slot(Key::home(fingerprint.low, table.capacity)));
  for (size_t line = 0; line < kPrefetchLines; ++line) __builtin_prefetch(at + line * 64, 1);
}

void DedupeIndex::add_tick(int64_t start_ms, uint64_t first) {
  ticks_.push_back({start_ms, start_ms + tick_ms_, first, 0});
  ++ticks_begun_;
}

void DedupeIndex::expect(uint64_t first, uint64_t last, int64_t start_ms, int64_t end_ms) {
  WEIR_CHECK(size_ == 0);
  if (first < ticks_.back().first || last < first) return;  // files that contradict each other
  if (ticks_.size() < kMaxTicks / 2) {
    ticks_.insert(ticks_.end() - 1, {start_ms, end_ms, first, 0});
    ++ticks_begun_;
  } else {
    Tick& before = ticks_[ticks_.size() - 2];
    before.end_ms = std::max(before.end_ms, end_ms);
  }
  ticks_.back().first = last + 1;
  newest_ = last;
}

// Null: evicted, or never expected.
DedupeIndex::Tick* DedupeIndex::tick_of(uint64_t number) {
  if (number >= ticks_.back().first) return &ticks_.back();
  const auto behind =
      std::upper_bound(ticks_.begin(), ticks_.end(), number,
                       [](uint64_t wanted, const Tick& tick) { return wanted < tick.first; });
  return behind == ticks_.begin() ? nullptr : &*(behind - 1);
}

void DedupeIndex::count_out(uint64_t number) {
  Tick* const tick = tick_of(number);
  if (tick == nullptr) return;
  --tick->entries;
  --size_;
}

// Where the entry is, or where it belongs.
uint32_t DedupeIndex::find(const Table& table, const Key& key, bool* found) const {
  *found = false;
  if (table.capacity == 0) return 0;
  uint32_t at = Key::home(key.order, table.capacity);
  Slot* slot = table.slot(at);
  while (slot->order < key.order && !slot->free()) slot = table.next(slot, ++at);
  uint32_t same = at;
  for (; slot->order == key.order && !slot->free(); slot = table.next(slot, ++same)) {
    if (key.same(*slot)) {
      *found = true;
      return same;
    }
  }
  return at;
}

uint64_t DedupeIndex::find_or_insert(const Fingerprint& fingerprint, uint64_t number) {
  Table& table = table_for(fingerprint);
  const Key key(fingerprint);
  bool found = false;
  uint32_t at = find(table, key, &found);
  if (found) {
    const uint64_t original = table.slot(at)->number();
    if (live(*table.slot(at)) && !lost(original)) return original;
    count_out(original);
    erase_slot(table, at);
  }
  if (ticks_.back().entries >= options_.max_entries / kTicksPerCap + 1 &&
      number > ticks_.back().first && ticks_.size() < kMaxTicks)
    add_tick(ticks_.back().start_ms, number);
  insert(table, key, at, number);
  return 0;
}

bool DedupeIndex::load(const Fingerprint& fingerprint, uint64_t number, int64_t time_ms) {
  if (size_ >= options_.max_entries || time_ms < oldest_ms_) return false;
  Table& table = table_for(fingerprint);
  const Key key(fingerprint);
  bool found = false;
  const uint32_t at = find(table, key, &found);
  if (!found) insert(table, key, at, number);  // else a newer file had it
  return true;
}

// at: where the key belongs.
void DedupeIndex::insert(Table& table, const Key& key, uint32_t at, uint64_t number) {
  WEIR_CHECK(number > 0 && number <= kNumberMask);
  bool found = false;
  if (uint64_t{table.used} * 1000 >= table.capacity * kFull) {  // or it is empty
    rebuild(table);
    at = find(table, key, &found);
  }
  for (;;) {
    // Up to the first slot that is free, or whose entry is forgotten.
    uint32_t free = at;
    Slot* slot = table.slot(free);
    while (live(*slot)) slot = table.next(slot, ++free);
    const bool forgotten = !slot->free();
    // The last slot stays free: every search ends there at the latest.
    if (forgotten || free + 1 < table.slots()) {
      make_gap(table, at, free);
      *table.slot(at) = {key.order, key.rest | number};
      if (!forgotten) ++table.used;
      break;
    }
    rebuild(table, table.capacity + table.capacity / 16 + 1);
    at = find(table, key, &found);
  }
  newest_ = std::max(newest_, number);
  if (Tick* const tick = tick_of(number); tick != nullptr) {
    ++tick->entries;
    ++size_;
  }
}

// Moves the entries at .. free - 1 on by one slot, from page to page.
void DedupeIndex::make_gap(const Table& table, uint32_t at, uint32_t free) {
  for (;;) {
    const uint32_t from = std::max(at, free / kPageSlots * kPageSlots);
    Slot* const slot = table.slot(from);
    std::memmove(slot + 1, slot, (free - from) * sizeof(Slot));
    if (from == at) return;
    *slot = *table.slot(from - 1);
    free = from - 1;
  }
}

void DedupeIndex::erase(const Fingerprint& fingerprint) {
  Table& table = table_for(fingerprint);
  bool found = false;
  const uint32_t at = find(table, Key(fingerprint), &found);
  if (!found) return;
  count_out(table.slot(at)->number());
  erase_slot(table, at);
}

// Closes the gap: entries behind it move back by one until one is at its home or a slot is free.
void DedupeIndex::erase_slot(Table& table, uint32_t at) {
  Slot* slot = table.slot(at);
  for (;;) {
    Slot* const behind = table.next(slot, at + 1);
    if (behind->free() || Key::home(behind->order, table.capacity) == at + 1) break;
    *slot = *behind;
    slot = behind;
    ++at;
  }
  *slot = {};
  --table.used;
}

// Spreads the entries that are not forgotten over a capacity that leaves room for more.
void DedupeIndex::rebuild(Table& table, uint32_t at_least) {
  const uint32_t kept = copy_live(table);
  uint32_t capacity = std::max(at_least, capacity_for(kept, table.capacity));
  Table next = room_for(table, capacity);
  while (!place({scratch_.data(), kept}, next)) {
    if (next.pages != shared_pages(table)) std::free(next.pages);
    capacity += capacity / 16 + 1;
    next = room_for(table, capacity);
  }
  pages_ = pages_ + next.page_count() - table.page_count();
  give_back(table, next);
  table = next;
}

// The entries that are not forgotten, to scratch_; returns how many.
uint32_t DedupeIndex::copy_live(const Table& table) {
  if (scratch_.size() < table.used) scratch_.resize(table.used + table.used / 2);
  const uint64_t first = ticks_.front().first;
  Slot* to = scratch_.data();
  for (uint32_t at = 0; at < table.slots(); at += kPageSlots) {
    const Slot* slot = table.slot(at);
    const Slot* const end = slot + std::min(kPageSlots, table.slots() - at);
    for (; slot != end; ++slot)
      if (slot->number() >= first) *to++ = *slot;
  }
  return static_cast<uint32_t>(to - scratch_.data());
}

DedupeIndex::Table DedupeIndex::room_for(const Table& table, uint32_t capacity) const {
  Table room{shared_pages(table), tables_.size() * kPageBytes, capacity, 0};
  if (room.page_count() <= most_pages_) return room;
  room.pages = static_cast<char*>(std::malloc(room.page_count() * kPageBytes));
  room.stride = kPageBytes;
  WEIR_CHECK(room.pages != nullptr, "no memory for the dedupe index");
  return room;
}

// What the table leaves: memory of its own, or its pages in the mapping behind its new end.
void DedupeIndex::give_back(const Table& old, const Table& now) const {
  if (old.stride == kPageBytes && old.pages != now.pages) {
    std::free(old.pages);
    return;
  }
  const size_t kept = now.pages == old.pages ? now.page_count() : 0;
  // One more stays: the table may grow again.
  for (size_t page = kept + 1; page < old.page_count(); ++page)
    madvise(old.pages + page * old.stride, kPageBytes, MADV_DONTNEED);
}

// False: the entries at the end do not fit into the slack.
bool DedupeIndex::place(std::span<const Slot> entries, Table& to) const {
  uint32_t at = 0;  // everything below is written
  Slot* slot = to.slot(0);
  for (const Slot& entry : entries) {
    const uint32_t home = Key::home(entry.order, to.capacity);
    for (; at < home; slot = to.next(slot, ++at)) *slot = {};
    if (at + 1 >= to.slots()) return false;
    *slot = entry;
    slot = to.next(slot, ++at);
  }
  for (; at + 1 < to.slots(); slot = to.next(slot, ++at)) *slot = {};
  *slot = {};
  to.used = static_cast<uint32_t>(entries.size());
  return true;
}

// Small tables grow by half; near their share of the cap in small steps, because there the bound of
// 24 bytes per entry is tight. The rest of the last page belongs to the table in any case.
uint32_t DedupeIndex::capacity_for(uint32_t live_entries, uint32_t before) const {
  const auto tight = static_cast<uint32_t>(uint64_t{live_entries + 1} * 1000 / kRoomy + 1);
  const uint32_t loose = live_entries + live_entries / 2;
  const uint32_t wanted = std::max(tight, std::min(loose, capacity_at_cap()));
  // Mostly forgotten entries: the same size is enough.
  if (before > tight && before < wanted) return before;
  return (wanted + kSlack + kPageSlots - 1) / kPageSlots * kPageSlots - kSlack;
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
}

void DedupeIndex::advance(int64_t now_ms) {
  // A clock that jumped back starts no tick; one that jumped forward ages everything.
  if (now_ms - ticks_.back().start_ms >= tick_ms_) add_tick(now_ms, newest_ + 1);
  const int64_t oldest_ms = now_ms - options_.window_ms;
  while (ticks_.size() > 1 && (ticks_.front().end_ms <= oldest_ms || ticks_.size() > kMaxTicks))
    evict_oldest(&evicted_by_window_);
  while (size_ >= options_.max_entries && ticks_.size() > 1) evict_oldest(&evicted_by_cap_);
  sweep();
}

// All tables once per kTicksPerWindow ticks, a few at a time: gives memory back after a burst.
void DedupeIndex::sweep() {
  const auto due = static_cast<uint64_t>(static_cast<double>(ticks_begun_) / kTicksPerWindow *
                                         static_cast<double>(tables_.size()));
  for (unsigned i = 0; i < kTablesPerSweep && swept_ < due; ++i, ++swept_) {
    Table& table = tables_[swept_ % tables_.size()];
    bool any = false;
    for (uint32_t at = 0; at < table.slots() && !any; ++at)
      any = !table.slot(at)->free() && !live(*table.slot(at));
    if (any) rebuild(table);
  }
}

uint64_t DedupeIndex::bytes() const { return pages_ * kPageBytes + tables_.size() * sizeof(Table); }

int64_t DedupeIndex::effective_window_ms(int64_t now_ms) const {
  if (size_ == 0) return 0;
  for (const Tick& tick : ticks_)
    if (tick.entries > 0) return std::max<int64_t>(now_ms - tick.start_ms, 0);
  return 0;
}

}  // namespace weir::storage
