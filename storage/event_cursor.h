// The events of one segment by their numbers, whatever chunks they lie in.
// Path: warm (per event that is read).  Thread: the reader's.
//
//   EventCursor cursor(reader, shard);
//   for (bool more = cursor.seek(number); more; more = cursor.next())
//     if (cursor.lost() == 0) use(cursor.number(), cursor.event());
//
// Numbers ascend, also in a file that says something else. What cannot be read is told, not
// skipped: a damaged event, or a chunk with a damaged directory, whose events end where the next
// record's key says.
#pragma once

#include <cstdint>
#include <string_view>

#include "storage/chunk.h"
#include "storage/segment_reader.h"

namespace weir::storage {

class EventCursor {
 public:
  // LIFETIME: the reader outlives the cursor and what event() points to.
  EventCursor(SegmentReader& reader, unsigned shard) : reader_(reader), shard_(shard) {}

  // To the event with this number or the next one above it. False: there is none, or LMDB cannot
  // go on (reader.code()).
  bool seek(uint64_t number);
  bool next();  // REQUIRES: the cursor is at an event

  uint64_t number() const { return number_; }
  // Events from number() on that cannot be read, for problem(); 0: event() is sound.
  uint64_t lost() const { return lost_; }
  std::string_view problem() const { return problem_; }
  const EventRecord& event() const { return event_; }

 private:
  bool enter(uint64_t from);
  void take(uint64_t number);

  SegmentReader& reader_;
  const unsigned shard_;
  bool ahead_ = false;  // the reader is at the record behind chunk_
  ChunkView chunk_;
  uint64_t number_ = 0;
  uint64_t lost_ = 0;
  uint64_t end_ = 0;  // one behind the last number of the chunk, sound or not
  std::string_view problem_;
  EventRecord event_;
};

}  // namespace weir::storage
