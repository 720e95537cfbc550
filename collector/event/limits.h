// Every limit of the event layer, with its default and why it has that value.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::event {

#if defined(WEIR_TINY_LIMITS)
// So small that tests meet every boundary.
constexpr unsigned kMaxDepth = 16;
constexpr size_t kMaxEventBytes = 8 << 10;
constexpr size_t kMaxEventsPerRequest = 300;
constexpr size_t kMaxEnvelopeBytes = 512;
constexpr size_t kMaxEncodedBytes = 256 << 10;
constexpr size_t kScanStepBytes = 256;
#else
// Real events nest a handful of levels; what nests deeper is an attack on whoever reads it next.
constexpr unsigned kMaxDepth = 128;
// One event is indexed in one step that cannot be interrupted: 1 MiB takes about 0.2 ms, inside a
// slice. SDKs cap events at 32 KB (Segment) to 1 MB.
constexpr size_t kMaxEventBytes = 1 << 20;
constexpr size_t kMaxEventsPerRequest = 20'000;
// The batch-level fields are stored with each event of the batch: bounded, so that a small request
// cannot become a large one on disk.
constexpr size_t kMaxEnvelopeBytes = 16 << 10;
// All encoded heads of one request together; the same protection for many events.
constexpr size_t kMaxEncodedBytes = 32 << 20;
// A scan over a body looks at the clock after this many bytes (about 10 µs).
constexpr size_t kScanStepBytes = 64 << 10;
#endif

// A value that is checked by a pattern; longer ones are invalid without looking further (bounds
// the time of a regular expression that backtracks).
constexpr size_t kMaxCheckedValueBytes = 256;

struct Limits {
  size_t event_bytes = kMaxEventBytes;
  size_t events = kMaxEventsPerRequest;
  size_t envelope_bytes = kMaxEnvelopeBytes;
  size_t encoded_bytes = kMaxEncodedBytes;
  unsigned depth = kMaxDepth;  // at most kMaxDepth
};

}  // namespace weir::event
