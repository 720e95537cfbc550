// Every bound of the forwarder that is not an option, in one place, with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::forwarder {

#if defined(WEIR_TINY_LIMITS)
constexpr uint64_t kMaxUndecodablePerUpdate = 2;
constexpr uint64_t kMaxSkippedPerUpdate = 10;
constexpr uint64_t kMaxMissingPerUpdate = 10;
constexpr size_t kMaxOpenBatches = 8;
constexpr size_t kMaxMarksWaiting = 4;
constexpr size_t kMaxLettersInMemory = 2;
constexpr size_t kLettersPerPage = 2;
#else
// One update is one transaction of the state thread: these keep it in the low megabytes.
constexpr uint64_t kMaxUndecodablePerUpdate = 100;
constexpr uint64_t kMaxSkippedPerUpdate = 100'000;
constexpr uint64_t kMaxMissingPerUpdate = 1'000'000;
// Open ranges of a lane: those being sent, and room for the parts of split batches (about
// 2 x log2(max_events) per batch in flight) and for batches that fail while others pass them.
constexpr size_t kMaxOpenBatches = 64;
// Marks that the state thread has not confirmed; past it the lane waits for the disk.
constexpr size_t kMaxMarksWaiting = 64;
// Requeued dead letters are fetched in pages and held, with payload, only this many at a time.
constexpr size_t kMaxLettersInMemory = 64;
constexpr size_t kLettersPerPage = 256;
#endif

// A batch that fails this often while others of its lane are delivered is split even though the
// answer asked for a retry: one event in it may be what the destination stumbles over.
constexpr uint32_t kIsolateAfter = 5;
// After this many events in a row refused with an answer that no event can cause (a redirect, 401,
// 404, 405, 407) the lane waits instead of failing the rest of the log one by one.
constexpr uint32_t kMaxAddressRefusals = 100;
// A stopped lane whose reason may pass (dead letter limit, no space) is tried again this often.
constexpr int64_t kStoppedRetryMs = 30'000;
// While the store commits many times a millisecond the forwarder looks at most this often.
constexpr int64_t kCommitQuietMs = 20;
// Status and gauges are refreshed at least this often.
constexpr int64_t kStatusMs = 1'000;

// Pull consumers.
#if defined(WEIR_TINY_LIMITS)
constexpr size_t kMaxRangesPerLease = 3;
constexpr size_t kBuriedPerUpdate = 3;
constexpr size_t kMaxRejectReasons = 2;
#else
constexpr size_t kMaxRangesPerLease = 1'000;  // each costs a read
constexpr size_t kBuriedPerUpdate = 500;      // dead letters of one transaction
// Reasons of rejects are metric labels; past this many a consumer's further ones are "rejected".
constexpr size_t kMaxRejectReasons = 32;
#endif
constexpr size_t kPassedOverPerTurn = 4;  // reads that gave nothing to hand out
// After a lease expired this often, each further one is half as long (docs/pull.md).
constexpr uint32_t kIsolateAfterDeliveries = 3;
constexpr int64_t kSkippedQuietMs = 1'000;  // positions of events nobody wants, at most this often
constexpr int64_t kBrokenPauseMs = 1'000;   // after a mark failed
constexpr size_t kMaxHolderBytes = 64;
constexpr size_t kMaxReasonBytes = 40;
constexpr size_t kMaxLeasesShown = 100;
constexpr size_t kMaxFilterEntries = 20;  // they are kept with the position, written with each mark
constexpr size_t kMaxFilterBytes = 128;
// A poll's timeout must not overflow; whoever waits longer looks once in between.
constexpr int64_t kLongestIdleWaitMs = 86'400'000;

// When stopping: how often the lanes are asked whether they are done.
constexpr int64_t kDrainLookMs = 10;
// When stopping: how long marks on their way to the disk are waited for.
constexpr int64_t kMarkGraceMs = 5'000;

// Of an answer: what is kept for the error text, and what is read at all before the connection is
// given up (its status counts all the same).
constexpr size_t kMaxSnippetBytes = 300;
constexpr size_t kMaxAnswerBytes = size_t{1} << 20;
constexpr size_t kMaxAnswerHeaderBytes = size_t{64} << 10;

}  // namespace weir::forwarder
