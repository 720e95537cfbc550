// How dead letters are written. One file is one LMDB database of records under big-endian record
// numbers; numbers go on from file to file and are never used twice.
// Path: cold.  Thread: any; no state.
//
//   record := number:be64 -> payload checksum:u64  (XXH3, seeded with store id and number)
//   number 0, once per file:  0:u8 version store id:16 file number
//   contents                  1:u8 letter id, fields of DeadLetter   (new, replaced, edited, moved)
//   status                    2:u8 letter id kind:u8                 (sent, discarded)
//                             2:u8 letter id kind:u8 attempts since  (requeued, retried)
//
// A letter's id is the number of its first contents record; a later record for the same id changes
// it. Integers are varints, signed ones zigzag, texts have their length before them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/ids.h"
#include "storage/lane.h"

namespace weir::storage {

enum class DeadLetterStatus : uint8_t { kRequeued = 1, kSent = 2, kDiscarded = 3, kRetried = 4 };

// Of a letter that waits to be sent again: tries since it was requeued, and when that was.
struct RequeueProgress {
  uint32_t attempts = 0;
  int64_t since_ms = 0;  // 0: written before this was kept
};

struct DeadLetterRecord {
  uint64_t number = 0;
  bool is_header = false;
  bool is_contents = false;
  uint64_t letter_id = 0;
  DeadLetter letter;  // contents; with a header: nothing
  DeadLetterStatus status{};
  RequeueProgress progress;  // kRequeued, kRetried
  StoreId store_id;          // header
  uint64_t file_number = 0;  // header
};

std::string dead_letter_key(uint64_t number);
std::string encode_dead_letter_header(const StoreId& store, uint64_t file_number);
std::string encode_dead_letter(const StoreId& store, uint64_t number, const DeadLetter& letter);
std::string encode_dead_letter_status(const StoreId& store, uint64_t number, uint64_t letter_id,
                                      DeadLetterStatus status,
                                      const RequeueProgress& progress = {});

// Nothing when the record is damaged. store: null while it is read from the header itself.
// The payload of a letter is left out unless with_payload.
std::optional<DeadLetterRecord> decode_dead_letter_record(const StoreId* store,
                                                          std::string_view key,
                                                          std::string_view value,
                                                          bool with_payload);

}  // namespace weir::storage
