// What the writer does with an event:
//   DedupeHit/n, DedupeMiss/n    a look-up, prefetched 16 ahead as the writer does, in an index of
//                                n entries; a miss inserts, and is erased outside the measurement
//   Append/n                     n records of 560 bytes into one LMDB transaction, aborted: no disk
//   Commit/n                     the same, committed and synced: per record at group size n
//   WholeStore/n                 n events lent to a whole store until they come back durable
// items_per_second is events.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/event_record.h"
#include "storage/chunk.h"
#include "storage/dedupe_index.h"
#include "storage/segment_writer.h"
#include "storage/store.h"

namespace weir::storage {
namespace {

constexpr size_t kRecordBytes = 560;
constexpr size_t kAhead = 16;

class Directory {
 public:
  Directory() {
    // Not /tmp, which may be memory: a commit must reach the disk the benchmark is run on.
    std::string name = (std::filesystem::current_path() / "weir-micro-XXXXXX").string();
    WEIR_CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Fingerprint random_fingerprint(std::mt19937_64& random) { return {random() | 1, random()}; }

// An index of n entries and some fingerprints in it, built once per size.
struct FullIndex {
  explicit FullIndex(uint64_t entries) : index({entries + 1'000'000, 24LL * 3'600'000}, 1'000) {
    std::mt19937_64 random(entries);
    const uint64_t every = std::max<uint64_t>(1, entries / 100'000);
    for (uint64_t i = 1; i <= entries; ++i) {
      const Fingerprint fingerprint = random_fingerprint(random);
      index.find_or_insert(fingerprint, i);
      if (i % every == 0) known.push_back(fingerprint);
    }
    std::shuffle(known.begin(), known.end(), random);
    next = entries + 1;
  }
  DedupeIndex index;
  uint64_t next = 1;  // the number of the next event
  std::vector<Fingerprint> known;
};

FullIndex& index_of(const benchmark::State& state) {
  static std::unique_ptr<FullIndex> kept;
  static int64_t kept_for = -1;
  if (kept_for != state.range(0)) {
    kept.reset();
    kept = std::make_unique<FullIndex>(static_cast<uint64_t>(state.range(0)));
    kept_for = state.range(0);
  }
  return *kept;
}

void DedupeHit(benchmark::State& state) {
  FullIndex& full = index_of(state);
  size_t at = 0;
  const size_t size = full.known.size();
  for (auto _ : state) {
    full.index.prefetch(full.known[(at + kAhead) % size]);
    if (full.index.find_or_insert(full.known[at], 1) == 0)
      return state.SkipWithError("a known fingerprint was not found");
    at = at + 1 == size ? 0 : at + 1;
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

void DedupeMiss(benchmark::State& state) {
  FullIndex& full = index_of(state);
  std::mt19937_64 random(4711);
  constexpr size_t kNew = 4096;
  std::vector<Fingerprint> fresh(kNew);
  size_t at = 0;
  const auto renew = [&] {
    for (size_t i = 0; i < at; ++i) full.index.erase(fresh[i]);
    for (Fingerprint& one : fresh) one = random_fingerprint(random);
    at = 0;
  };
  renew();
  for (auto _ : state) {
    if (at == kNew) {
      state.PauseTiming();
      renew();
      state.ResumeTiming();
    }
    full.index.prefetch(fresh[(at + kAhead) % kNew]);
    if (full.index.find_or_insert(fresh[at], full.next++) != 0)
      return state.SkipWithError("a new fingerprint was found");
    ++at;
  }
  renew();
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

// By size, so that each index is built once.
void register_dedupe() {
  for (const int64_t entries : {1'000, 1'000'000, 20'000'000}) {
    benchmark::RegisterBenchmark("DedupeHit", DedupeHit)->Arg(entries);
    benchmark::RegisterBenchmark("DedupeMiss", DedupeMiss)->Arg(entries);
  }
}
const bool kRegistered = (register_dedupe(), true);

void append_records(SegmentWriter& writer, uint64_t first, int64_t count, const std::string& raw) {
  ChunkPlan plan;
  plan.begin(static_cast<uint64_t>(count) * raw.size());
  for (int64_t i = 0; i < count; ++i) plan.add(kEventHeaderSize + raw.size());
  uint64_t number = first;
  for (const ChunkSize& size : plan.chunks()) {
    char* to = nullptr;
    WEIR_CHECK(writer.reserve(event_key(number), size.bytes, &to) == 0);
    ChunkEncoder chunk(to, 0, number, size);
    for (; chunk.left() > 0; ++number) chunk.add(1'000, {number, 77}, {}, raw);
    chunk.finish();
  }
}

void Append(benchmark::State& state) {
  const Directory directory;
  auto writer = SegmentWriter::create(directory.path() + "/segment", uint64_t{1} << 30);
  if (!writer) return state.SkipWithError(writer.error().message.c_str());
  const std::string raw(kRecordBytes - kEventHeaderSize, 'x');
  for (auto _ : state) {
    WEIR_CHECK((*writer)->begin() == 0);
    append_records(**writer, 1, state.range(0), raw);
    state.PauseTiming();
    (*writer)->abort();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Append)->Arg(1)->Arg(64)->Arg(256)->Arg(4096);

void Commit(benchmark::State& state) {
  const Directory directory;
  constexpr uint64_t kSegment = uint64_t{256} << 20;
  const std::string raw(kRecordBytes - kEventHeaderSize, 'x');
  std::unique_ptr<SegmentWriter> writer;
  uint64_t next = 1;
  for (auto _ : state) {
    if (writer == nullptr || !writer->fits(static_cast<uint64_t>(state.range(0)) *
                                           SegmentWriter::record_cost(kRecordBytes))) {
      state.PauseTiming();
      writer.reset();
      auto made = SegmentWriter::create(directory.path() + "/segment", kSegment);
      if (!made) return state.SkipWithError(made.error().message.c_str());
      writer = std::move(*made);
      state.ResumeTiming();
    }
    WEIR_CHECK(writer->begin() == 0);
    append_records(*writer, next, state.range(0), raw);
    WEIR_CHECK(writer->commit() == 0);
    next += static_cast<uint64_t>(state.range(0));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Commit)->Arg(1)->Arg(64)->Arg(256)->Arg(4096)->UseRealTime();

void WholeStore(benchmark::State& state) {
  const Directory directory;
  StoreOptions options;
  options.directory = directory.path();
  options.reserve_bytes = 0;
  options.state_bytes = uint64_t{4} << 20;
  MetricRegistry metrics;
  auto store = Store::open(options, Clock::system(), metrics);
  if (!store) return state.SkipWithError(store.error().message.c_str());
  Wakeup wakeup;
  auto appender = (*store)->make_appender(wakeup);
  const std::string raw(400, 'x');
  EventFields fields;
  fields.tenant = "acme";
  fields.name = "test";
  std::string head;
  append_event_head(head, fields);
  std::vector<AppendEntry> entries(static_cast<size_t>(state.range(0)));
  std::mt19937_64 random(1);
  AppendRequest request;
  for (auto _ : state) {
    for (AppendEntry& entry : entries) {
      entry = AppendEntry{};
      entry.fingerprint = random_fingerprint(random);
      entry.tenant = fields.tenant;
      entry.head = head;
      entry.raw = raw;
    }
    request.entries = entries;
    request.received_at_ms = 1'795'000'000'000;
    appender->append(request);
    appender->flush();
    while (appender->take_outcomes() == nullptr) wakeup.wait(1'000'000'000);
    if (request.outcome != AppendOutcome::kCommitted)
      return state.SkipWithError("the store refused");
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
  (*store)->stop();
}
BENCHMARK(WholeStore)->Arg(1)->Arg(64)->Arg(1024)->UseRealTime();

}  // namespace
}  // namespace weir::storage
