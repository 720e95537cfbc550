// What sending a batch costs before the network:
//   EncodeBatch/f       1,000 stored events to the destination's format; f: 0 json, 1 ndjson
//   Compress/c          that body; c: 1 gzip, 2 zstd. bytes_per_second is of the plain body
//   EncodeAndCompress/c both, as a lane does it
// items_per_second is events.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "forwarder/encoder.h"

namespace weir::forwarder {
namespace {

constexpr size_t kBatch = 1'000;

std::vector<std::string> payloads() {
  std::vector<std::string> made;
  for (size_t i = 0; i < kBatch; ++i) {
    const std::string number = std::to_string(10'000 + i);
    const std::string raw =
        R"({"id":"7f9c2ba4-e88f-4d53-9a1c-0000000)" + number +
        R"(","name":"product_viewed","timestamp":"2026-11-20T21:00:00.123Z","sessionId":"s-4f1c)" +
        number + R"(","url":"https://shop.example/products/)" + number +
        R"(?ref=home","campaign_id":"spring_2026","tracking_id":"trk-)" + number +
        R"(","properties":{"productId":"sku-42","price":19.99,"qty":1,"currency":"EUR"}})";
    const std::string id = "7f9c2ba4-e88f-4d53-9a1c-0000000" + number;
    EventFields fields;
    fields.id = id;
    fields.name = "product_viewed";
    fields.source = "native";
    fields.tenant = "acme";
    fields.campaign_id = "spring_2026";
    fields.timestamp_ms = 1'795'000'000'123;
    std::string payload;
    append_event_head(payload, fields);
    made.push_back(payload + raw);
  }
  return made;
}

// One encoder with its events, as a lane has it.
class Lane {
 public:
  Lane(BodyFormat format, Compression compression)
      : compressor_(*Compressor::make(compression)),
        encoder_(format, "edge-1", "0b4b42a1-6f7e-4c3a-9d52-3f1f8f6f0a01", *compressor_),
        payloads_(payloads()) {}

  bool encode(std::string* body) {
    encoder_.begin("0b4b42a1-6f7e-4c3a-9d52-3f1f8f6f0a01-2a");
    storage::StoredEvent event;
    for (const std::string& payload : payloads_) {
      event.position.number++;
      event.received_ms = 1'795'000'000'200;
      event.payload = payload;
      EventFields fields;
      if (!decode_event_record(payload, &fields)) return false;
      encoder_.add(event, fields);
    }
    return static_cast<bool>(encoder_.finish(body));
  }

 private:
  std::unique_ptr<Compressor> compressor_;
  JsonEncoder encoder_;
  std::vector<std::string> payloads_;
};

void run(benchmark::State& state, BodyFormat format, Compression compression) {
  Lane lane(format, compression);
  std::string body;
  if (!lane.encode(&body)) return state.SkipWithError("the batch could not be encoded");
  for (auto _ : state) benchmark::DoNotOptimize(lane.encode(&body));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBatch));
  state.SetLabel(std::to_string(body.size() / kBatch) + " bytes/event");
}

void EncodeBatch(benchmark::State& state) {
  run(state, static_cast<BodyFormat>(state.range(0)), Compression::kNone);
}
BENCHMARK(EncodeBatch)->Arg(0)->Arg(1);

void EncodeAndCompress(benchmark::State& state) {
  run(state, BodyFormat::kJson, static_cast<Compression>(state.range(0)));
}
BENCHMARK(EncodeAndCompress)->Arg(1)->Arg(2);

void Compress(benchmark::State& state) {
  Lane lane(BodyFormat::kJson, Compression::kNone);
  std::string plain;
  std::string packed;
  const auto compressor = Compressor::make(static_cast<Compression>(state.range(0)));
  if (!compressor || !lane.encode(&plain)) return state.SkipWithError("no batch");
  for (auto _ : state) benchmark::DoNotOptimize((*compressor)->compress(plain, &packed));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBatch));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * plain.size()));
  state.SetLabel(std::to_string(packed.size() / kBatch) + " bytes/event");
}
BENCHMARK(Compress)->Arg(1)->Arg(2);

}  // namespace
}  // namespace weir::forwarder
