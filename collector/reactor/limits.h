// The reactor's numbers and why they are what they are. The tiny preset shrinks the defaults so
// that the test suites meet every boundary: a full queue, an empty buffer ring, a short read.
#pragma once

#include <cstdint>

namespace weir::reactor {

#if defined(WEIR_TINY_LIMITS)
inline constexpr unsigned kDefaultRingEntries = 8;
inline constexpr unsigned kDefaultCompletionEntries = 32;
inline constexpr unsigned kDefaultReceiveBuffers = 4;
inline constexpr unsigned kDefaultReceiveBufferBytes = 64;
#else
// One turn submits at most one send per connection; past this the turn submits in two steps.
inline constexpr unsigned kDefaultRingEntries = 4096;
// A turn can complete a receive, a send and a cancellation per connection. An overflow is survived
// but costs an allocation in the kernel and ends multishot operations.
inline constexpr unsigned kDefaultCompletionEntries = 16'384;
// 4 MiB in all. A 400-byte event with its head fits one buffer; a buffer is back in the ring as
// soon as on_data() returns, so their number bounds one turn, not the connections.
inline constexpr unsigned kDefaultReceiveBuffers = 1024;
inline constexpr unsigned kDefaultReceiveBufferBytes = 4096;
#endif
static_assert(kDefaultCompletionEntries >= 4 * kDefaultRingEntries);

// Under a memlock limit the queues are halved down to this before the loop gives up.
inline constexpr unsigned kMinRingEntries = 32;
inline constexpr unsigned kMinReceiveBuffers = 32;
// The kernel's own bounds (io_uring/kbuf.c, io_uring/io_uring.c).
inline constexpr unsigned kMaxReceiveBuffers = 32'768;
inline constexpr unsigned kMaxRingEntries = 32'768;

// How long a listener waits after an error that repeats at once (no descriptor, no memory).
inline constexpr int64_t kAcceptBackoffNs = 100'000'000;
// Connections closed in one go when descriptors ran out, so that the loop stays responsive.
inline constexpr unsigned kShedPerTurn = 64;

}  // namespace weir::reactor
