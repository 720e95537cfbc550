// What one event costs between its bytes and its record:
//   Check        complete check and members of one 400-byte event
//   Event        the same plus canonical fields, fingerprint and encoding
//   Batch/n      an array of n events, per batch; items_per_second is events
//   Wrapper/n    the same inside {"batch":[…]}
//   Lines/n      the same as NDJSON
//   Scan         the bracket scan alone
//   Rules        a key's rules: two required fields, one with an allow list
//   Identity     choosing and making the fingerprint of an event with an id
//   Encode       the record's head from canonical fields
#include <benchmark/benchmark.h>

#include <string>

#include "collector/event/body_reader.h"
#include "collector/event/encoder.h"
#include "collector/event/rules.h"
#include "collector/event/scan.h"
#include "collector/protocols/native.h"
#include "collector/protocols/segment.h"

namespace weir {
namespace {

std::string make_event(int number) {
  return R"({"id":"7f9c2ba4-e88f-4d53-9a1c-0000000)" + std::to_string(10000 + number) +
         R"(","name":"product_viewed","timestamp":"2026-11-20T21:00:00.123Z",)"
         R"("sessionId":"s-4f1c9a72","userId":"user-18271","type":"track","event":"product_viewed",)"
         R"("url":"https://shop.example/products/42?ref=home","campaign_id":"spring_2026",)"
         R"("tracking_id":"trk-00917","properties":{"productId":"sku-42","price":19.99,"qty":1,)"
         R"("currency":"EUR","category":"shoes/running","list":["a","b"]}})";
}

std::string make_batch(long events, const char* open, const char* separator, const char* close) {
  std::string body = open;
  for (int i = 0; i < events; ++i) body += (i > 0 ? separator : "") + make_event(i);
  return body + close;
}

// One reader with what it needs, doing what the pipeline does with each event.
class Worker {
 public:
  Worker() : reader_(parser_, limits_) {}

  size_t run(std::string_view body, const protocols::Adapter& adapter,
             const event::BodyPlan& plan) {
    size_t bytes = 0;
    arena_.reset();
    request_fields_ = {};
    reader_.start(body, plan);
    for (;;) {
      switch (reader_.next()) {
        case event::BodyReader::Step::kEvent:
          bytes += take(adapter);
          break;
        case event::BodyReader::Step::kHead:
          envelope_ = reader_.envelope(arena_);
          break;
        case event::BodyReader::Step::kEnd:
          return bytes;
        case event::BodyReader::Step::kError:
          return 0;
        default:
          break;
      }
    }
  }

 private:
  size_t take(const protocols::Adapter& adapter) {
    EventFields fields;
    fields.raw = reader_.event();
    fields.tenant = "acme";
    fields.source = adapter.name();
    fields.envelope = envelope_;
    const protocols::EventInput input{head_, reader_, &parser_, 0, {}, arena_};
    if (!adapter.read_event(input, fields).empty()) return 0;
    const Fingerprint fingerprint = event::choose_fingerprint(secret_, fields, {});
    benchmark::DoNotOptimize(fingerprint);
    if (request_fields_.empty()) request_fields_ = event::encode_request_fields(fields, arena_);
    return event::encode_head(fields, request_fields_, arena_).size();
  }

  event::Limits limits_;
  event::EventParser parser_;
  event::BodyReader reader_;
  event::Arena arena_;
  protocols::RequestHead head_;
  DedupeSecret secret_;
  std::string_view envelope_;
  std::string_view request_fields_;
};

void Check(benchmark::State& state) {
  const std::string text = make_event(1);
  event::EventParser parser;
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse_object(text));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.SetLabel(std::string(event::StructureIndex::implementation_name()) + " " +
                 std::to_string(text.size()) + " bytes");
}
BENCHMARK(Check);

void Event(benchmark::State& state) {
  const std::string text = make_event(1);
  Worker worker;
  for (auto _ : state) benchmark::DoNotOptimize(worker.run(text, protocols::native_adapter(), {}));
}
BENCHMARK(Event);

void run_batch(benchmark::State& state, const std::string& body, const protocols::Adapter& adapter,
               const event::BodyPlan& plan) {
  Worker worker;
  if (worker.run(body, adapter, plan) == 0) return state.SkipWithError("the batch was refused");
  for (auto _ : state) benchmark::DoNotOptimize(worker.run(body, adapter, plan));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * body.size()));
}

void Batch(benchmark::State& state) {
  run_batch(state, make_batch(state.range(0), "[", ",", "]"), protocols::native_adapter(), {});
}
BENCHMARK(Batch)->Arg(100)->Arg(5000);

void Wrapper(benchmark::State& state) {
  const auto& adapter = protocols::segment_adapter();
  run_batch(state, make_batch(state.range(0), R"({"batch":[)", ",", R"(],"sentAt":"now"})"),
            adapter, adapter.plan({}, 0));
}
BENCHMARK(Wrapper)->Arg(100);

void Lines(benchmark::State& state) {
  event::BodyPlan plan;
  plan.lines = true;
  run_batch(state, make_batch(state.range(0), "", "\n", "\n"), protocols::native_adapter(), plan);
}
BENCHMARK(Lines)->Arg(100);

void Scan(benchmark::State& state) {
  const std::string body = make_batch(100, "[", ",", "]");
  for (auto _ : state) {
    event::ContainerScan scan;
    benchmark::DoNotOptimize(event::scan_container(scan, body.data(), 0, body.size()));
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * body.size()));
  state.SetLabel(std::string(event::scan_implementation_name()));
}
BENCHMARK(Scan);

EventFields canonical_fields() {
  EventFields fields;
  fields.id = "7f9c2ba4-e88f-4d53-9a1c-000000010001";
  fields.name = "product_viewed";
  fields.source = "native";
  fields.tenant = "acme";
  fields.session_id = "s-4f1c9a72";
  fields.user_id = "user-18271";
  fields.url = "https://shop.example/products/42?ref=home";
  fields.campaign_id = "spring_2026";
  fields.tracking_id = "trk-00917";
  fields.timestamp_ms = 1'795'000'000'123;
  return fields;
}

void Rules(benchmark::State& state) {
  const auto rules = event::RuleSet::build({"campaign_id", "tracking_id"}, {},
                                           {{"campaign_id", {"spring_2026", "summer_2026"}}});
  if (!rules) return state.SkipWithError(rules.error().message.c_str());
  const auto find = [](const event::FieldRule& rule) {
    return event::FoundValue{event::FoundValue::State::kText,
                             rule.field == "campaign_id" ? "spring_2026" : "trk-00917"};
  };
  if (!rules->check(find).empty()) return state.SkipWithError("the event breaks a rule");
  for (auto _ : state) benchmark::DoNotOptimize(rules->check(find));
}
BENCHMARK(Rules);

void Identity(benchmark::State& state) {
  const DedupeSecret secret;
  const EventFields fields = canonical_fields();
  for (auto _ : state) benchmark::DoNotOptimize(event::choose_fingerprint(secret, fields, {}));
}
BENCHMARK(Identity);

void Encode(benchmark::State& state) {
  const EventFields fields = canonical_fields();
  event::Arena request_arena;
  const std::string_view request_fields = event::encode_request_fields(fields, request_arena);
  event::Arena arena;
  for (auto _ : state) {
    arena.reset();
    benchmark::DoNotOptimize(event::encode_head(fields, request_fields, arena));
  }
}
BENCHMARK(Encode);

}  // namespace
}  // namespace weir
