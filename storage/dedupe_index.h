// Which idempotency keys were stored in the last 24 hours: fingerprint -> event number, in memory.
// Path: hot (one look-up per event).  Thread: the shard's writer.
//
// Many small tables, chosen by the fingerprint's top bits; each grows alone, so that the longest
// step is the copying of one table: some 5,000 entries, tens of microseconds, where one table of
// 20 M entries would stall for a second. In a table entries lie in the order of 32 bits of their
// fingerprint, near the place that order gives them (linear probing that keeps sorted): a look-up
// ends as soon as it meets a larger one, and growing is one sequential pass.
//
// Each table grows in place, in its own stretch of one large mapping whose pages are used as far as
// the table goes: no gaps between tables that grow at different times. (One that is far larger than
// its share, which no set of real fingerprints makes it, moves to memory of its own.)
//
// An entry takes 20 bytes: 96 bits of fingerprint (with the table's number about 108 of 128), a
// 48-bit event number, a 16-bit tick. Tables are between 85 % and 90 % full once they are large:
// at most 24 bytes per entry at the cap.
//
// Forgetting: time is cut into ticks (1/8192 of the window, 10.5 s for 24 h; cut short when one
// would hold more than 1/64 of the cap). The oldest tick leaves when it is out of the window or
// when the cap is reached: that only moves a mark. Its entries count as absent from then on, and
// their slots are reclaimed by insertions near them, when their table fills up, or when sweep()
// comes by: once per window, so that no forgotten entry is left when the ids of ticks come round.
//
// Invariants
//   1. size() <= max_entries after every advance(); bytes() <= 24 * max_entries + a fixed part.
//   2. An entry is found until its tick was evicted, erased or its number lies in a lost range.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "storage/base/hash.h"

namespace weir::storage {

class DedupeIndex {
 public:
  struct Options {
    uint64_t max_entries = 20'000'000;
    int64_t window_ms = 24LL * 3'600'000;
  };
  DedupeIndex(const Options& options, int64_t now_ms);
  ~DedupeIndex();
  DedupeIndex(const DedupeIndex&) = delete;
  DedupeIndex& operator=(const DedupeIndex&) = delete;

  // Asks for the memory a later look-up will touch.
  void prefetch(const Fingerprint& fingerprint) const;
  // The number stored with the fingerprint, or 0 after inserting it with this one.
  uint64_t find_or_insert(const Fingerprint& fingerprint, uint64_t number);
  // Takes an insertion back (its commit failed).
  void erase(const Fingerprint& fingerprint);

  // At start, before anything is loaded: entries from this time on can be forgotten apart from
  // older ones. Where much came within one tick, files cut it into parts no larger than themselves.
  void cut_tick(int64_t start_ms);
  // At start: entries of the past, newest files first, so that at the cap the oldest are left out.
  // False: the cap is reached, or the entry is out of the window; nothing was inserted.
  bool load(const Fingerprint& fingerprint, uint64_t number, int64_t time_ms);
  // Loading is quick in the order of tables; ascending fingerprints (high, then low) are in it.
  size_t tables() const { return tables_.size(); }
  size_t table_of(const Fingerprint& fingerprint) const {
    return static_cast<size_t>(fingerprint.high >> (64 - table_bits_));
  }

  // Before each group: moves time on, forgets what is out of the window or over the cap.
  void advance(int64_t now_ms);
  // The originals first..last are gone (a damaged file): their keys are no longer duplicates.
  void lose(uint64_t first, uint64_t last) { lost_.emplace_back(first, last); }

  uint64_t size() const { return size_; }
  uint64_t bytes() const;  // of the tables
  uint64_t evicted_by_window() const { return evicted_by_window_; }
  uint64_t evicted_by_cap() const { return evicted_by_cap_; }
  // Age of the oldest entry still known; 0 when empty.
  int64_t effective_window_ms(int64_t now_ms) const;

 private:
  struct Slot {
    uint32_t order;  // ascending within a table
    uint32_t key[2];
    uint32_t number_low;
    uint16_t number_high;
    uint16_t tick;  // 0: free
  };
  static_assert(sizeof(Slot) == 20);
  // slots[0 .. capacity + kSlack): the home of an entry lies below capacity. Empty: capacity is 0.
  struct Table {
    Slot* slots = nullptr;
    uint32_t capacity = 0;
    uint32_t used = 0;  // slots that are not free, forgotten ones included
  };
  struct Tick {
    int64_t start_ms = 0;
    uint64_t entries = 0;
  };
  struct Key;

  static constexpr uint32_t kSlack = 32;
  static constexpr uint32_t kTickIds = 65535;  // 16 bits without 0

  const Table& table_for(const Fingerprint& fingerprint) const {
    return tables_[table_of(fingerprint)];
  }
  Table& table_for(const Fingerprint& fingerprint) { return tables_[table_of(fingerprint)]; }
  uint16_t tick_id(size_t index) const;
  // The place of a tick in ticks_; beyond its end when the tick was evicted.
  uint32_t tick_index(uint16_t tick) const {
    const uint32_t ahead = uint32_t{tick} - 1 - first_tick_place_;
    return tick > first_tick_place_ ? ahead : ahead + kTickIds;
  }
  // False for a free slot.
  bool live(uint16_t tick) const { return tick != 0 && tick_index(tick) < live_ticks_; }
  void add_tick(int64_t start_ms);
  size_t tick_at(int64_t time_ms) const;
  uint32_t find(const Table& table, const Key& key, bool* found) const;
  void insert(Table& table, const Key& key, uint64_t number, size_t tick);
  static void erase_slot(Table& table, uint32_t at);
  void rebuild(Table& table, uint32_t at_least = 0);
  void reserve_stretches();
  Slot* stretch(const Table& table) const;
  Slot* room_for(const Table& table, uint32_t capacity) const;
  bool place(std::span<const Slot> entries, Table& to) const;
  void give_back(const Table& old, const Table& now) const;
  uint32_t capacity_at_cap() const;
  uint32_t capacity_for(uint32_t live, uint32_t before) const;
  void evict_oldest(uint64_t* evicted);
  void sweep();
  bool lost(uint64_t number) const;

  Options options_;
  int64_t tick_ms_;
  unsigned table_bits_;
  uint32_t share_;  // entries per table at the cap
  std::vector<Table> tables_;
  char* mapping_ = nullptr;  // a stretch of stretch_bytes_ per table
  size_t stretch_bytes_ = 0;
  std::vector<Slot> scratch_;  // what a table that is rebuilt keeps
  std::deque<Tick> ticks_;     // the live ones, oldest first; never empty
  uint64_t first_tick_ = 1;    // the running number of ticks_.front()
  // What live() looks at, for each entry of a table that grows: first_tick_ modulo kTickIds, and
  // the size of ticks_.
  uint32_t first_tick_place_ = 1;
  uint32_t live_ticks_ = 0;
  uint64_t size_ = 0;
  uint64_t slots_ = 0;
  uint64_t evicted_by_window_ = 0;
  uint64_t evicted_by_cap_ = 0;
  uint64_t swept_ = 0;  // tables looked at by sweep(), round and round
  std::vector<std::pair<uint64_t, uint64_t>> lost_;
};

}  // namespace weir::storage
