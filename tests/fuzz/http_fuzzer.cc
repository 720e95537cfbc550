// Arbitrary bytes on an HTTP connection. Besides not crashing: however the bytes are split, the
// same requests are served and the same answers given; and a body we frame is the body llhttp
// frames.
#include <gtest/gtest.h>
#include <llhttp.h>

#include <cstdint>
#include <string_view>

#include "storage/base/check.h"
#include "tests/collector/http/fixture.h"

namespace {

using namespace weir::http;
using namespace weir::http::test;

struct Outcome {
  std::string output;
  std::vector<ScriptedHandler::Seen> seen;
  bool ended = false;
};

ServerOptions small_limits() {
  ServerOptions options;
  options.limits.request_line_bytes = 300;
  options.limits.header_bytes = 1000;
  options.limits.header_count = 10;
  options.limits.body_bytes = 2000;
  options.limits.decoded_body_bytes = 100'000;
  options.limits.pipelined_requests = 3;
  options.proxy.trusted = {"10.0.0.0/8"};
  options.proxy.proxy_protocol = true;
  return options;
}

// step 0: as a whole. Otherwise in pieces whose sizes follow from step.
Outcome serve(std::string_view bytes, size_t step, std::string_view peer) {
  Harness harness(small_limits());
  FakeStream& client = harness.connect(peer);
  size_t size = step;
  while (!bytes.empty() && !client.closing()) {
    const std::string_view piece = bytes.substr(0, step == 0 ? bytes.size() : size);
    bytes.remove_prefix(piece.size());
    harness.send(client, piece);
    size = size * 5 % 37 + 1;
    for (Exchange* exchange : harness.handler.lent) exchange->respond({});
    harness.handler.lent.clear();
    harness.loop.settle();
  }
  while (!harness.handler.lent.empty()) {  // answers let paused requests through
    std::vector<Exchange*> lent;
    lent.swap(harness.handler.lent);
    for (Exchange* exchange : lent) exchange->respond({});
    harness.loop.settle();
  }
  Outcome outcome{client.output, harness.handler.seen, client.closing() || client.write_shut};
  harness.eof(client);
  return outcome;
}

// The first message as llhttp understands it.
struct First {
  std::string target, body;
  bool complete = false;
};

First first_by_llhttp(std::string_view bytes) {
  First first;
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = [](llhttp_t* parser, const char* at, size_t size) {
    static_cast<First*>(parser->data)->target.append(at, size);
    return 0;
  };
  settings.on_body = [](llhttp_t* parser, const char* at, size_t size) {
    static_cast<First*>(parser->data)->body.append(at, size);
    return 0;
  };
  settings.on_message_complete = [](llhttp_t* parser) {
    static_cast<First*>(parser->data)->complete = true;
    return static_cast<int>(HPE_PAUSED);
  };
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &first;
  llhttp_execute(&parser, bytes.data(), bytes.size());
  return first;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  GTEST_FLAG_SET(break_on_failure, true);  // the fixture's expectations hold here too
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 8192) return 0;
  const size_t step = 1 + data[0] % 32;
  const std::string_view peer = data[0] >= 128 ? "10.0.0.1" : "203.0.113.9";
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = serve(bytes, 0, peer);
  const Outcome split = serve(bytes, step, peer);
  WEIR_CHECK(whole.seen.size() == split.seen.size(), "whole={} split={}", whole.seen.size(),
             split.seen.size());
  for (size_t i = 0; i < whole.seen.size(); ++i) {
    WEIR_CHECK(whole.seen[i].target == split.seen[i].target &&
               whole.seen[i].body == split.seen[i].body &&
               whole.seen[i].headers == split.seen[i].headers);
  }
  WEIR_CHECK(whole.ended == split.ended);
  if (!whole.seen.empty() && peer == "203.0.113.9") {
    const First first = first_by_llhttp(bytes);
    const auto& seen = whole.seen.front();
    bool coded = first.body.substr(0, 2) == "\x1f\x8b";
    for (const auto& [name, value] : seen.headers)
      coded = coded || header_is(name, "content-encoding");
    if (first.complete && first.target == seen.target && !coded)
      WEIR_CHECK(first.body == seen.body, "llhttp={} ours={}", first.body, seen.body);
  }
  return 0;
}
