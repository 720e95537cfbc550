// What a consumer keeps with its lane (LaneState::note): how it was set up, when that is not in the
// configuration, and how its latest leases ended, so that a repeated ack gets the same answer after
// a restart too.
// Path: warm (once per mark).  Thread: any; no state.
//
//   note    := version:u8 settings ended:varint ending*
//   ending  := lease:varint kind:u8 acked:varint nacked:varint rejected:varint dead:varint
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "forwarder/leases.h"

namespace weir::forwarder {

// Who has a range, as OpenRange::owner says it: "2a edge-puller", or "2a/7 edge-puller" for the
// dead letter 7, which was requeued; "0/7" while nobody has it, empty for a range of the log.
//
//   owner := [lease:hex ["/" letter:hex] [" " holder]]
struct RangeOwner {
  uint64_t lease = 0;
  uint64_t letter = 0;
  std::string holder{};

  static RangeOwner parse(std::string_view text);
  std::string text() const;
};

enum class EndKind : uint8_t { kAcked = 0, kReleased = 1 };

// How a lease ended.
struct Ending {
  uint64_t lease = 0;
  EndKind kind = EndKind::kAcked;
  uint64_t acked = 0;
  uint64_t nacked = 0;
  uint64_t rejected = 0;
  uint64_t dead_lettered = 0;
};

#if defined(WEIR_TINY_LIMITS)
constexpr size_t kDurableEndings = 4;
constexpr size_t kRememberedEndings = 8;
#else
// Written with every mark: about 12 bytes each.
constexpr size_t kDurableEndings = 100;
constexpr size_t kRememberedEndings = 4096;
#endif

// The latest kDurableEndings of endings go in.
std::string encode_note(const ConsumerOptions& options, const std::deque<Ending>& endings);
// False when the bytes do not follow the grammar; what was read until then is kept. Does not touch
// options->lane.
bool decode_note(std::string_view note, ConsumerOptions* options, std::deque<Ending>* endings);

}  // namespace weir::forwarder
