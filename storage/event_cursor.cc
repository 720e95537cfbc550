#include "storage/event_cursor.h"

#include <algorithm>

namespace weir::storage {

bool EventCursor::seek(uint64_t number) {
  // The chunk that holds it begins at its key or below; what is below may also be a commit block.
  ahead_ = reader_.seek_at_or_before(event_key(number)) ||
           (reader_.code() == 0 && reader_.seek(event_key(number)));
  return enter(number);
}

bool EventCursor::next() {
  const uint64_t from = number_ + std::max<uint64_t>(lost_, 1);
  if (from >= end_) return enter(from);
  take(from);
  return true;
}

// Into the first chunk from where the reader is that has a number from `from` on.
bool EventCursor::enter(uint64_t from) {
  while (ahead_) {
    if (reader_.key() == kHeaderKey || is_commit_key(reader_.key())) {
      ahead_ = reader_.next();
      continue;
    }
    const uint64_t first = key_number(reader_.key());
    problem_ = chunk_.decode(reader_.value(), shard_, first);
    ahead_ = reader_.next();
    if (problem_.empty()) {
      end_ = chunk_.end();
    } else {
      // Behind a chunk comes the next one, or the commit block with the number of the last event.
      end_ =
          ahead_ ? key_number(reader_.key()) + (is_commit_key(reader_.key()) ? 1 : 0) : first + 1;
    }
    number_ = std::max(first, from);
    if (end_ <= number_) continue;
    if (problem_.empty())
      take(number_);
    else
      lost_ = end_ - number_;
    return true;
  }
  return false;
}

void EventCursor::take(uint64_t number) {
  number_ = number;
  const bool sound = chunk_.event(number, &event_);
  lost_ = sound ? 0 : 1;
  problem_ = sound ? std::string_view() : "it fails its checksum";
}

}  // namespace weir::storage
