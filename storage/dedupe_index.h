// Which idempotency keys were stored in the last 24 hours: fingerprint -> event number, in memory.
// Path: hot (one look-up per event).  Thread: the shard's writer.
//
// Many small tables, chosen by the fingerprint's top bits; each grows alone, so that the longest
// step is the copying of one table: some 5,000 entries, tens of microseconds, where one table of
// 20 M entries would stall for a second. In a table entries lie in the order of 64 bits of their
// fingerprint, near the place that order gives them (linear probing that keeps sorted): a look-up
// ends as soon as it meets a larger one, and growing is one sequential pass.
//
// An entry takes 16 bytes: 80 bits of fingerprint (with the table's number 92 of 128: among 20 M
// keys a new one is taken for another once in 10^20) and the 48-bit event number. Tables are
// between 72 % and 80 % full once they are large: at most 24 bytes per entry at the cap.
//
// All tables lie in one mapping, page by page: first the first page of every table, then the second
// of every table. They fill alike, so what is used of the mapping is its beginning, without gaps,
// and huge pages fit: with 4 KiB pages every look-up in a large index waits for a walk of the page
// table. (A table that is far larger than its share, which no set of real fingerprints makes it,
// moves to memory of its own.)
//
// Forgetting: event numbers ascend with time, so what is forgotten is what has a number below a
// mark. Ticks say which numbers belong to which time (1/8192 of the window, 10.5 s for 24 h; cut
// short when one would hold more than 1/64 of the cap; of the time before a restart, one per
// segment). The oldest tick leaves when it is out of the window or when the cap is reached: that
// only moves the mark. Its entries count as absent from then on, and their slots are reclaimed by
// insertions near them, when their table fills up, or when sweep() comes by, once per window.
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
  // The number stored with the fingerprint, or 0 after inserting it with this one. Numbers ascend,
  // but for those of a group that was taken back.
  uint64_t find_or_insert(const Fingerprint& fingerprint, uint64_t number);
  // Takes an insertion back (its commit failed).
  void erase(const Fingerprint& fingerprint);

  // At start, before anything is loaded, oldest first: events first..last were stored in this time.
  // They are forgotten together.
  void expect(uint64_t first, uint64_t last, int64_t start_ms, int64_t end_ms);
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
  // Free: all zero. An event's number is never 0.
  struct Slot {
    uint64_t order;           // ascending within a table
    uint64_t key_and_number;  // 16 and 48 bits

    uint64_t number() const { return key_and_number & kNumberMask; }
    bool free() const { return number() == 0; }
  };
  static_assert(sizeof(Slot) == 16);
  // Slots 0 .. capacity + kSlack - 1; the home of an entry lies below capacity. Empty: capacity 0.
  struct Table {
    char* pages = nullptr;  // the first one
    size_t stride = 0;      // from one page to the next, bytes
    uint32_t capacity = 0;
    uint32_t used = 0;  // slots that are not free, forgotten ones included

    Slot* slot(uint32_t at) const {
      return reinterpret_cast<Slot*>(pages + at / kPageSlots * stride) + at % kPageSlots;
    }
    // slot(at) when before is slot(at - 1).
    Slot* next(Slot* before, uint32_t at) const {
      return at % kPageSlots != 0 ? before + 1 : slot(at);
    }
    uint32_t slots() const { return capacity == 0 ? 0 : capacity + kSlack; }
    size_t page_count() const { return (slots() + kPageSlots - 1) / kPageSlots; }
  };
  // The numbers first .. (next tick's first) - 1 were given from start_ms to end_ms at the latest.
  struct Tick {
    int64_t start_ms = 0;
    int64_t end_ms = 0;
    uint64_t first = 0;
    uint64_t entries = 0;
  };
  struct Key;

  static constexpr uint64_t kNumberMask = (uint64_t{1} << 48) - 1;
  static constexpr size_t kPageBytes = 4096;
  static constexpr uint32_t kPageSlots = kPageBytes / sizeof(Slot);
  static constexpr uint32_t kSlack = 32;

  const Table& table_for(const Fingerprint& fingerprint) const {
    return tables_[table_of(fingerprint)];
  }
  Table& table_for(const Fingerprint& fingerprint) { return tables_[table_of(fingerprint)]; }
  // False for a free slot.
  bool live(const Slot& slot) const { return slot.number() >= ticks_.front().first; }
  void add_tick(int64_t start_ms, uint64_t first);
  Tick* tick_of(uint64_t number);
  void count_out(uint64_t number);
  uint32_t find(const Table& table, const Key& key, bool* found) const;
  void insert(Table& table, const Key& key, uint32_t at, uint64_t number);
  static void make_gap(const Table& table, uint32_t at, uint32_t free);
  static void erase_slot(Table& table, uint32_t at);
  void rebuild(Table& table, uint32_t at_least = 0);
  void reserve_pages();
  char* shared_pages(const Table& table) const;
  uint32_t copy_live(const Table& table);
  Table room_for(const Table& table, uint32_t capacity) const;
  bool place(std::span<const Slot> entries, Table& to) const;
  void give_back(const Table& old, const Table& now) const;
  uint32_t capacity_at_cap() const;
  uint32_t capacity_for(uint32_t live, uint32_t before) const;
  void evict_oldest(uint64_t* evicted);
  void sweep();
  bool lost(uint64_t number) const;

  Options options_;
  int64_t tick_ms_;
  int64_t oldest_ms_;  // what is loaded is not older
  unsigned table_bits_;
  uint32_t share_;  // entries per table at the cap
  std::vector<Table> tables_;
  void* reserved_ = nullptr;  // of the mapping, with what its alignment leaves over
  size_t reserved_bytes_ = 0;
  char* mapping_ = nullptr;
  size_t most_pages_ = 0;      // that a table has in the mapping
  std::vector<Slot> scratch_;  // what a table that is rebuilt keeps
  std::deque<Tick> ticks_;     // the live ones, oldest first; never empty
  uint64_t ticks_begun_ = 0;
  uint64_t newest_ = 0;  // the largest number so far
  uint64_t size_ = 0;
  uint64_t pages_ = 0;  // that tables use
  uint64_t evicted_by_window_ = 0;
  uint64_t evicted_by_cap_ = 0;
  uint64_t swept_ = 0;  // tables looked at by sweep(), round and round
  std::vector<std::pair<uint64_t, uint64_t>> lost_;
};

}  // namespace weir::storage
