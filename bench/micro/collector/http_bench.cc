// What a request costs before its body is looked at:
//   Scan      finding the end of a head and refusing what is ambiguous
//   Parse     llhttp and the facts about the body
//   Head      both, as a connection does it
// of a load generator's short head (/0) and a browser's (/1); bytes_per_second is the head's.
#include <benchmark/benchmark.h>

#include <string>

#include "collector/http/head_parser.h"
#include "collector/http/head_scanner.h"

namespace weir::http {
namespace {

const std::string kHeads[] = {
    "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    "X-Write-Key: bench\r\nContent-Length: 400\r\n\r\n",
    "POST /v1/events?key=wk_test HTTP/1.1\r\nHost: collect.example\r\nConnection: keep-alive\r\n"
    "Content-Length: 1247\r\nsec-ch-ua-platform: \"Linux\"\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36\r\n"
    "sec-ch-ua: \"Not:A-Brand\";v=\"8\", \"Chromium\";v=\"140\"\r\ncontent-type: text/plain\r\n"
    "sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://shop.example\r\n"
    "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
    "Referer: https://shop.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n\r\n"};

const std::string& head_of(const benchmark::State& state) {
  return kHeads[static_cast<size_t>(state.range(0))];
}

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * head_of(state).size()));
}

size_t scan(const std::string& head) {
  HeadScanner scanner;
  size_t used = 0;
  if (scanner.scan(head, used) != HeadScanner::State::kComplete) return 0;
  return scanner.lines();
}

void Scan(benchmark::State& state) {
  if (scan(head_of(state)) == 0) return state.SkipWithError("the head was refused");
  for (auto _ : state) benchmark::DoNotOptimize(scan(head_of(state)));
  count_bytes(state);
}
BENCHMARK(Scan)->Arg(0)->Arg(1);

void Parse(benchmark::State& state) {
  const std::string& head = head_of(state);
  const size_t lines = scan(head);
  const Limits limits;
  HeadParser parser;
  Request request;
  HeadFacts facts;
  if (parser.parse(head, lines, limits, request, facts) != nullptr)
    return state.SkipWithError("the head was refused");
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse(head, lines, limits, request, facts));
  count_bytes(state);
}
BENCHMARK(Parse)->Arg(0)->Arg(1);

void Head(benchmark::State& state) {
  const std::string& head = head_of(state);
  const Limits limits;
  HeadParser parser;
  Request request;
  HeadFacts facts;
  for (auto _ : state)
    benchmark::DoNotOptimize(parser.parse(head, scan(head), limits, request, facts));
  count_bytes(state);
}
BENCHMARK(Head)->Arg(0)->Arg(1);

}  // namespace
}  // namespace weir::http
