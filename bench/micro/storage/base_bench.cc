// The vocabulary every event passes through:
//   MakeFingerprint   XXH3-128 over (tenant, id)
//   Checksum/n        XXH3-64 over a record of n bytes
//   WriteHead         canonical fields to a record's head; DecodeHead the way back
//   MailboxOneThread  push and take of n items by the same thread: what the operations cost
//   MailboxTwoThreads pushed by one thread, taken by another: what crossing cores costs, per item
#include <benchmark/benchmark.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "storage/base/event_record.h"
#include "storage/base/hash.h"
#include "storage/base/mailbox.h"

namespace weir {
namespace {

void MakeFingerprint(benchmark::State& state) {
  const DedupeSecret secret;
  const std::string id = "7f9c2ba4-e88f-4d53-9a1c-000000010001";
  for (auto _ : state) benchmark::DoNotOptimize(make_fingerprint(secret, "acme", id));
}
BENCHMARK(MakeFingerprint);

void Checksum(benchmark::State& state) {
  const std::string record(static_cast<size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(checksum64(record, 42));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Checksum)->Arg(450)->Arg(16'000);

EventFields fields() {
  EventFields made;
  made.id = "7f9c2ba4-e88f-4d53-9a1c-000000010001";
  made.name = "product_viewed";
  made.source = "native";
  made.tenant = "acme";
  made.session_id = "s-4f1c9a72";
  made.url = "https://shop.example/products/42?ref=home";
  made.timestamp_ms = 1'795'000'000'123;
  return made;
}

void WriteHead(benchmark::State& state) {
  const EventFields made = fields();
  std::string request_fields(request_fields_bound(made), '\0');
  request_fields.resize(write_request_fields(request_fields.data(), made));
  std::string out(event_head_bound(made, request_fields), '\0');
  for (auto _ : state) benchmark::DoNotOptimize(write_event_head(out.data(), made, request_fields));
}
BENCHMARK(WriteHead);

void DecodeHead(benchmark::State& state) {
  std::string record;
  append_event_head(record, fields());
  record += "{}";
  EventFields decoded;
  if (!decode_event_record(record, &decoded)) return state.SkipWithError("not a record");
  for (auto _ : state) benchmark::DoNotOptimize(decode_event_record(record, &decoded));
}
BENCHMARK(DecodeHead);

struct Item {
  Item* next = nullptr;
};

void MailboxOneThread(benchmark::State& state) {
  std::vector<Item> items(static_cast<size_t>(state.range(0)));
  Mailbox<Item> mailbox;
  for (auto _ : state) {
    for (Item& item : items) mailbox.push(&item);
    benchmark::DoNotOptimize(mailbox.take_all());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(MailboxOneThread)->Arg(1)->Arg(64);

// One chain at a time travels to the other thread and back.
void MailboxTwoThreads(benchmark::State& state) {
  std::vector<Item> items(static_cast<size_t>(state.range(0)));
  Mailbox<Item> there;
  Mailbox<Item> back;
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      Item* first = there.take_all();
      if (first == nullptr) continue;
      Item* last = first;
      while (last->next != nullptr) last = last->next;
      back.push_chain(first, last);
    }
  });
  for (auto _ : state) {
    for (size_t i = 0; i + 1 < items.size(); ++i) items[i].next = &items[i + 1];
    there.push_chain(&items.front(), &items.back());
    size_t returned = 0;
    while (returned < items.size())
      for (Item* item = back.take_all(); item != nullptr; item = item->next) ++returned;
  }
  stop = true;
  other.join();
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(MailboxTwoThreads)->Arg(1)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace weir
